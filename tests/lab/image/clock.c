/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright: svirt.fleet contributors
 *
 * Clock reads without a system call, for hosts under User-Mode Linux, where each call traps into the host's kernel.
 *
 * A User-Mode Linux kernel has no vDSO, and QEMU reads the clock some 18 times for each byte of QMP. Between two real
 * reads, at most RESYNC apart, the time is the last real one plus the ticks of the time stamp counter since. Each
 * thread has its own last reading and never sees its clock go back. CPU clocks and all others are real reads.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define SECOND 1000000000LL
#define RESYNC (SECOND / 20)
/* A rate is taken from two real reads that lie so many times further apart than they are uncertain. */
#define PRECISION 1000

/* A real read, which took place somewhere within width ticks after ticks: the process may not have run meanwhile. */
struct reading {
	uint64_t ticks;	/* 0: none yet */
	uint64_t width;
	int64_t ns;
};

struct clock {
	struct reading last;
	int64_t given;	/* ns that the last caller got */
};

static __thread struct clock clocks[2];	/* CLOCK_REALTIME, CLOCK_MONOTONIC */
static double ns_per_tick;		/* 0 until it is known; written as a whole */
static struct reading first;		/* where the calibration began, on CLOCK_MONOTONIC */

static struct reading real_read(clockid_t clock)
{
	struct reading found;
	struct timespec now;

	found.ticks = __rdtsc();
	syscall(SYS_clock_gettime, clock, &now);
	found.width = __rdtsc() - found.ticks;
	found.ns = now.tv_sec * SECOND + now.tv_nsec;
	return found;
}

static void calibrate(struct reading now)
{
	if (!first.ticks || first.width > 2 * now.width)
		first = now;
	else if ((first.width + now.width) * PRECISION < now.ticks - first.ticks)
		ns_per_tick = (double)(now.ns - first.ns) / (double)(now.ticks - first.ticks);
}

static int64_t read_clock(clockid_t id)
{
	struct clock *clock = &clocks[id];
	double since = (double)(int64_t)(__rdtsc() - clock->last.ticks) * ns_per_tick;
	int64_t now;

	if (!clock->last.ticks || ns_per_tick == 0 || since < 0 || since > RESYNC) {
		clock->last = real_read(id);
		if (id == CLOCK_MONOTONIC)
			calibrate(clock->last);
		now = clock->last.ns;
		/* Somebody set the clock back: follow. Less than a second is the error of the ticks. */
		if (clock->given - now > SECOND)
			clock->given = now;
	} else {
		now = clock->last.ns + (int64_t)since;
	}
	if (now > clock->given)
		clock->given = now;
	return clock->given;
}

int clock_gettime(clockid_t clock, struct timespec *result)
{
	int64_t now;

	if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC)
		return syscall(SYS_clock_gettime, clock, result);
	now = read_clock(clock);
	result->tv_sec = now / SECOND;
	result->tv_nsec = now % SECOND;
	return 0;
}

int gettimeofday(struct timeval *restrict result, void *restrict zone)
{
	int64_t now = read_clock(CLOCK_REALTIME);

	(void)zone;
	result->tv_sec = now / SECOND;
	result->tv_usec = now % SECOND / 1000;
	return 0;
}
