/* CRC-32C (Castagnoli, reflected polynomial 0x82F63B78, initial value and final xor all ones), as in iSCSI and ext4. */
#ifndef DAWNLINE_BUS_CRC32C_H
#define DAWNLINE_BUS_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/*
 * CRC of n bytes that follow those whose CRC is `crc`; 0 to begin with.
 *
 * One function, three bodies that are tested equal: the processor's instruction where it has one (asked at run time on
 * x86-64), slice-by-8 on other hosts, and a table of 16 entries where BUS_CRC_SMALL is defined (boards).
 */
uint32_t bus_crc32c(uint32_t crc, const uint8_t *p, size_t n);

/* The two bodies without special instructions, to be tested against the first. */
uint32_t bus_crc32c_small(uint32_t crc, const uint8_t *p, size_t n);
#ifndef BUS_CRC_SMALL
uint32_t bus_crc32c_slice8(uint32_t crc, const uint8_t *p, size_t n);
#endif

#endif
