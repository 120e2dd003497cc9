#pragma once
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
/*
 * gather.h - the records of one message in one send.
 *
 * OpenSSL writes each record of 16 KiB by itself.  Under a gather, which takes the place of
 * the write side of an SSL, what is written between gather_begin() and gather_end() goes out
 * at once; what the kernel does not take is kept and has to be flushed before anything more.
 * Outside of the two, writes go to the socket as ever.
 *
 * Ownership  the SSL owns the gather; it is dead when the SSL is freed.
 * Errors     -EAGAIN: bytes are kept; other -errno: dead.
 */
#define GATHER_BYTES (96 * 1024)

struct gather;

/* NULL: no memory, and the SSL is as it was. */
struct gather *gather_install(SSL *ssl, int fd);
/* `scratch`: GATHER_BYTES, for this call. */
void gather_begin(struct gather *g, unsigned char *scratch);
int gather_end(struct gather *g);
int gather_flush(struct gather *g);
