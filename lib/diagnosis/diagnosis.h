#pragma once
#include "lib/base/addr.h"
#include "lib/base/reason.h"
#include "lib/json/json.h"
/*
 * diagnosis.h - what an agent found when it tried a target: steps with times, addresses, TLS facts.
 *
 * Never a key, never a byte that the target sent beyond its certificates.
 *
 * Units      milliseconds; times of certificates as text ("2031-01-31T18:00:00Z").
 * Ownership  one block, no pointers; large, so keep it on the heap.
 * Errors     -EINVAL: not a diagnosis; -ENOMEM.
 * Threads    no state.
 */
#define DIAGNOSIS_BYTES_MAX ((size_t)48 << 10)      /* of its JSON */
#define DIAGNOSIS_TEXT_MAX 255
#define DIAGNOSIS_ADDRESSES_MAX 32
#define DIAGNOSIS_TRIES_MAX 8
#define DIAGNOSIS_CERTIFICATES_MAX 6
#define DIAGNOSIS_NAMES_MAX 16                      /* of a certificate */
#define DIAGNOSIS_PLACE_MAX (ADDR_UNIX_MAX + 8)

enum diagnosis_step { DIAGNOSIS_RESOLVE, DIAGNOSIS_CONNECT, DIAGNOSIS_TLS, DIAGNOSIS_STEPS };

struct diagnosis_outcome {
    enum reason reason;                             /* REASON_NONE: good */
    uint32_t took_ms;
    char detail[DIAGNOSIS_TEXT_MAX + 1];            /* for a person */
};

struct diagnosis_place {
    char at[DIAGNOSIS_PLACE_MAX];
    uint32_t took_ms;                               /* of a try */
    enum reason reason;                             /* REASON_NONE: permitted; connected */
};

struct diagnosis_certificate {
    char subject[DIAGNOSIS_TEXT_MAX + 1], issuer[DIAGNOSIS_TEXT_MAX + 1];
    char names[DIAGNOSIS_NAMES_MAX][DIAGNOSIS_TEXT_MAX + 1];
    size_t name_count, names_left_out;
    char not_before[24], not_after[24];
    char fingerprint[65];                           /* SHA-256 of the DER, hex */
};

struct diagnosis {
    enum reason reason;                             /* of the step that failed; REASON_NONE: all went well */
    char detail[DIAGNOSIS_TEXT_MAX + 1];
    unsigned steps;                                 /* that were begun, in their order */
    struct diagnosis_outcome step[DIAGNOSIS_STEPS];
    /* resolve */
    char resolved_by[16], server[64];
    struct diagnosis_place addresses[DIAGNOSIS_ADDRESSES_MAX];
    size_t address_count, addresses_left_out;
    /* connect: in the order in which they began */
    char used[DIAGNOSIS_PLACE_MAX];
    struct diagnosis_place tries[DIAGNOSIS_TRIES_MAX];
    size_t try_count;
    /* tls */
    char server_name[DIAGNOSIS_TEXT_MAX + 1], version[16], cipher[64], alpn[32];
    bool is_verified;
    struct diagnosis_certificate certificates[DIAGNOSIS_CERTIFICATES_MAX];
    size_t certificate_count, certificates_left_out;
};

const char *diagnosis_step_name(enum diagnosis_step step);      /* "resolve" */
/* Copies what fits; control characters become '?', and a character is never cut in two. */
void diagnosis_text(char *dst, size_t size, struct span text);
void diagnosis_encode(const struct diagnosis *d, struct json_writer *w, const char *key);
MUST_CHECK int diagnosis_decode(const struct json_value *v, struct diagnosis *ret_diagnosis);
