#include "lib/crypto/totp.h"
#include "lib/crypto/digest.h"
#include "lib/crypto/random.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>

void totp_secret_make(unsigned char ret_secret[TOTP_SECRET_LEN])
{
    random_bytes(ret_secret, TOTP_SECRET_LEN);
}

void totp_base32(const unsigned char *bytes, size_t n, char *dst, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    size_t at = 0;
    uint32_t bits = 0;
    unsigned held = 0;

    for (size_t i = 0; i < n; i++) {
        bits = bits << 8 | bytes[i];
        for (held += 8; held >= 5 && at + 1 < size; held -= 5)
            dst[at++] = digits[bits >> (held - 5) & 31];
    }
    if (held && at + 1 < size)
        dst[at++] = digits[bits << (5 - held) & 31];
    if (size)
        dst[at] = '\0';
}

void totp_code(const unsigned char secret[TOTP_SECRET_LEN], uint64_t step, char ret_code[TOTP_DIGITS + 1])
{
    unsigned char counter[8], mac[20];
    unsigned mac_len = sizeof(mac), at;
    uint32_t number;

    for (size_t i = 0; i < sizeof(counter); i++)
        counter[i] = (unsigned char)(step >> (56 - 8 * i));
    if (!HMAC(EVP_sha1(), secret, TOTP_SECRET_LEN, counter, sizeof(counter), mac, &mac_len))
        abort();                        /* out of memory, as in digest.h */
    at = mac[19] & 15;
    number = (uint32_t)(mac[at] & 0x7f) << 24 | (uint32_t)mac[at + 1] << 16 | (uint32_t)mac[at + 2] << 8 | mac[at + 3];
    snprintf(ret_code, TOTP_DIGITS + 1, "%06u", number % 1000000);
    secret_wipe(mac, sizeof(mac));
}

uint64_t totp_find(const unsigned char secret[TOTP_SECRET_LEN], struct span code, int64_t now_s)
{
    uint64_t now = now_s > TOTP_STEP_S ? (uint64_t)now_s / TOTP_STEP_S : 1, found = 0;
    char right[TOTP_DIGITS + 1];

    for (uint64_t step = now - 1; step <= now + 1; step++) {
        totp_code(secret, step, right);
        if (span_eq_secret(span_str(right), code))
            found = step;
    }
    secret_wipe(right, sizeof(right));
    return found;
}
