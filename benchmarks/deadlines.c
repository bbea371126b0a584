/*
 * The least that a loop with absolute deadlines can do: usage deadlines COUNT PERIOD_US; prints as JSON how long after
 * each deadline it woke up, in us: percentiles, the worst, and how many by more than 10 ms.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LATE_US 10000

static int compare(const void *a, const void *b) {
    long x = *(const long *)a, y = *(const long *)b;
    return (x > y) - (x < y);
}

/* The least of the sorted times that so many percent are at most. */
static long percentile(const long *us, long count, long percent) {
    long rank = (count * percent + 99) / 100;
    return us[rank > 0 ? rank - 1 : 0];
}

int main(int argc, char **argv) {
    long count = argc == 3 ? atol(argv[1]) : 0, period_us = argc == 3 ? atol(argv[2]) : 0, late = 0;
    long *us = count > 0 ? malloc((size_t)count * sizeof *us) : NULL;
    if (us == NULL || period_us < 1 || period_us > 1000000) {
        fprintf(stderr, "usage: deadlines COUNT PERIOD_US\n");
        return 2;
    }
    struct timespec deadline, now;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    for (long i = 0; i < count; i++) {
        deadline.tv_nsec += period_us * 1000;
        if (deadline.tv_nsec >= 1000000000) {
            deadline.tv_nsec -= 1000000000;
            ++deadline.tv_sec;
        }
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, NULL);
        clock_gettime(CLOCK_MONOTONIC, &now);
        us[i] = (now.tv_sec - deadline.tv_sec) * 1000000 + (now.tv_nsec - deadline.tv_nsec) / 1000;
        late += us[i] > LATE_US;
    }
    qsort(us, (size_t)count, sizeof *us, compare);
    printf("{\"p50\": %ld, \"p95\": %ld, \"p99\": %ld, \"max\": %ld, \"late\": %ld}\n", percentile(us, count, 50),
           percentile(us, count, 95), percentile(us, count, 99), us[count - 1], late);
    free(us);
    return 0;
}
