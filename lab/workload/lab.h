// SPDX-License-Identifier: LGPL-2.1-or-later
// What every maker of pages uses: claims (which pages, of which kind), and holding them until the guest is stopped.
#ifndef LAB_H
#define LAB_H
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096UL
#define HUGE (2UL << 20)

// -- claim.c: ground truth --
// Pages va .. va + n * step are of `kind`; the rest is printf-style "key=value key=value".
void claim_pages(const char *kind, void *va, unsigned n, unsigned long step, const char *more, ...);
#define claim(kind, va, n, ...) claim_pages(kind, va, n, PAGE, __VA_ARGS__)
// As claim(), for pages of files: dev, ino and index are added from /proc/self/maps.
void claim_file(const char *kind, void *va, unsigned n, const char *more, ...);
// Pages of `fd` from `offset` that nobody maps: they are mapped for the moment of looking.
void claim_unmapped(const char *kind, int fd, unsigned long offset, unsigned n, const char *more, ...);
// No address, no PFN: only words; `marker` may be NULL.
void claim_words(const char *kind, const char *more, ...);
void forget_claims(void);           // a child that does not map what its parent claimed
void skip(const char *kind, const char *why);
void emit_claims(void);             // one line per page, PFNs as they are now
uint64_t pagemap_entry(const void *va);
void octal(char *out, const char *in); // bytes that may not stand in a value become \ooo

// -- hold.c: processes that hold their pages --
void hold(void) __attribute__((noreturn));  // ready; answer the leader's wishes for ever
void start(const char *comm, void (*setup)(void)); // fork, name, setup, hold; returns when it holds
pid_t spawn(void (*child)(void));   // the same for a child of a worker, comm is kept
void emit_all(void);
void init_holders(void);

// -- util.c --
void *anon(size_t size);            // mapped, not touched
void fill(void *p, size_t size, unsigned seed); // distinct words in each page, not mergeable, not compressible
char *aligned(size_t size, int flags); // 2 MiB aligned anonymous area
int make_file(const char *path, unsigned pages, unsigned seed); // write and fsync; open O_RDWR
int put(const char *path, const char *value);  // write to a file of /proc or /sys; 0 or -1
long get_number(const char *path);
void make_marker(unsigned char out[16], const char *name); // by name and pid
void marker_hex(char out[33], const unsigned char marker[16]);
void nap(unsigned ms);
// -- marked.c: write `size` bytes that begin with a marker, claim the page that they end up in --
void write_marked(const char *kind, int fd, size_t size, const char *more, ...);

#endif
