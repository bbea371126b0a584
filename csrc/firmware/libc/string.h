/* The part of the C library that exists on a board: csrc/firmware/memory.c. */
#ifndef DAWNLINE_FIRMWARE_LIBC_STRING_H
#define DAWNLINE_FIRMWARE_LIBC_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int value, size_t n);
int memcmp(const void *a, const void *b, size_t n);
void *memchr(const void *s, int c, size_t n);

#endif
