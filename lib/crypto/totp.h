#pragma once
#include "lib/base/span.h"
/*
 * totp.h - time-based one-time passwords, as authenticator apps make them.
 *
 * Shape      20 random bytes, shown as 32 characters of base32; codes of 6 digits, one each 30 s,
 *            by HMAC-SHA-1 (what every app knows).
 * Units      Unix seconds; a step is 30 of them.
 * Source     RFC 6238, RFC 4226 section 5.3, RFC 4648 section 6.
 * Threads    any.
 */
#define TOTP_SECRET_LEN 20
#define TOTP_TEXT_LEN 32
#define TOTP_DIGITS 6
#define TOTP_STEP_S 30

void totp_secret_make(unsigned char ret_secret[TOTP_SECRET_LEN]);
/* Base32 without padding; `n` bytes make (8 n + 4) / 5 characters, a NUL behind them. */
void totp_base32(const unsigned char *bytes, size_t n, char *dst, size_t size);
void totp_code(const unsigned char secret[TOTP_SECRET_LEN], uint64_t step, char ret_code[TOTP_DIGITS + 1]);
/* The step that the code is of: the present one, the one before or behind; 0: none.  In one time,
 * whatever the code.  Whoever asks must refuse a step that is not greater than the last he took. */
uint64_t totp_find(const unsigned char secret[TOTP_SECRET_LEN], struct span code, int64_t now_s);
