#include "lib/tunnel/hello.h"

#include "lib/base/encode.h"
#include "lib/crypto/digest.h"
#include "lib/crypto/key.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TEXT_OF_32 43           /* base64url of 32 bytes */
#define CSR_TEXT_MAX 8192

/* What is bytes in the struct is text on the wire. */
struct wire {
    struct tunnel_hello hello;
    char nonce[TEXT_OF_32 + 1], secret[TEXT_OF_32 + 1], proof[TEXT_OF_32 + 1];
    char credential[16];
};

#define AT(member) offsetof(struct wire, member), sizeof_field(struct wire, member)
#define COMMON                                                                        \
    { "protocol", J_INT, AT(hello.protocol), 1, 1000000, JSON_REQUIRED },             \
    { "features", J_STRS, AT(hello.features), 0, 64, 0 },                             \
    { "id", J_TEXT, AT(hello.id), ULID_LEN, ULID_LEN, 0 },                            \
    { "name", J_TEXT, AT(hello.name), 1, TUNNEL_TEXT_MAX - 1, 0 },                    \
    { "boot_id", J_TEXT, AT(hello.boot_id), ULID_LEN, ULID_LEN, JSON_REQUIRED },      \
    { "starts", J_INT, AT(hello.starts), 0, INT64_MAX, JSON_REQUIRED },               \
    { "software", J_TEXT, AT(hello.software), 1, TUNNEL_TEXT_MAX - 1, 0 },            \
    { "platform", J_TEXT, AT(hello.platform), 1, TUNNEL_TEXT_MAX - 1, 0 },            \
    { "zone", J_TEXT, AT(hello.zone), 1, TUNNEL_TEXT_MAX - 1, 0 },                    \
    { "streams_max", J_INT, AT(hello.streams_max), 0, INT32_MAX, 0 },                 \
    { "nonce", J_TEXT, AT(nonce), TEXT_OF_32, TEXT_OF_32, JSON_REQUIRED }

static const struct json_field accepting_fields[] = {
    COMMON,
    { "relays", J_STRS, AT(hello.relays), 0, TUNNEL_RELAYS_MAX, 0 },
    { "first_retry_ms", J_INT, AT(hello.first_retry_ms), 0, 3600000, 0 },
    { "workers", J_INT, AT(hello.workers), 0, TUNNEL_WORKERS_MAX, 0 },
    { "worker", J_INT, AT(hello.worker), 0, TUNNEL_WORKERS_MAX - 1, 0 },
    { "session", J_TEXT, AT(hello.session.id.text), ULID_LEN, ULID_LEN, JSON_REQUIRED },
    { "secret", J_TEXT, AT(secret), TEXT_OF_32, TEXT_OF_32, JSON_REQUIRED },
};

static const struct json_field dialling_fields[] = {
    COMMON,
    { "replaces", J_TEXT, AT(hello.replaces), ULID_LEN, ULID_LEN, 0 },
    { "credential", J_TEXT, AT(credential), 1, 15, JSON_REQUIRED },
    { "session", J_TEXT, AT(hello.session.id.text), ULID_LEN, ULID_LEN, 0 },
    { "proof", J_TEXT, AT(proof), TEXT_OF_32, TEXT_OF_32, 0 },
    { "chain", J_STR, AT(hello.chain_pem), 1, 12288, 0 },
    { "signature", J_STR, AT(hello.signature), 1, 2 * KEY_SIGNATURE_MAX, 0 },
    { "token_id", J_STR, AT(hello.token_id), 1, TUNNEL_TEXT_MAX - 1, 0 },
    { "csr", J_STR, AT(hello.csr), 1, CSR_TEXT_MAX, 0 },
    { "mac", J_STR, AT(hello.mac), 1, 2 * TEXT_OF_32, 0 },
};

static const char *const credential_names[TUNNEL_CREDENTIAL_COUNT] = {
    [TUNNEL_NONE] = "", [TUNNEL_CERTIFICATE] = "certificate", [TUNNEL_SESSION] = "session",
    [TUNNEL_SIGNATURE] = "signature", [TUNNEL_JOIN] = "join",
};

static int refuse(struct json_error *reterr, const char *pointer, const char *message)
{
    snprintf(reterr->pointer, sizeof(reterr->pointer), "%s", pointer);
    snprintf(reterr->message, sizeof(reterr->message), "%s", message);
    return -EINVAL;
}

static bool to_bytes(const char *text, unsigned char dst[32])
{
    struct buf b;

    buf_init_fixed(&b, dst, 32);
    return base64url_decode(span_str(text), &b) && b.len == 32 && !buf_error(&b);
}

static void to_text(const unsigned char bytes[32], char dst[TEXT_OF_32 + 1])
{
    struct buf b;

    buf_init_fixed(&b, dst, TEXT_OF_32);
    base64url_encode(span_of(bytes, 32), &b);
    dst[b.len] = 0;
}

/* The credential is there with all that it needs, and none of another's parts is taken. */
static int check_credential(struct wire *w, struct json_error *reterr)
{
    struct tunnel_hello *h = &w->hello;

    for (unsigned i = TUNNEL_CERTIFICATE; i < TUNNEL_CREDENTIAL_COUNT; i++)
        if (span_eq(span_str(w->credential), span_str(credential_names[i])))
            h->credential = (enum tunnel_credential)i;
    switch (h->credential) {
    case TUNNEL_CERTIFICATE:
        return 0;
    case TUNNEL_SESSION:
        if (!h->session.id.text[0] || !to_bytes(w->proof, h->proof))
            return refuse(reterr, "/proof", "session and proof are required");
        return 0;
    case TUNNEL_SIGNATURE:
        if (!h->chain_pem || !h->signature)
            return refuse(reterr, "/signature", "chain and signature are required");
        return 0;
    case TUNNEL_JOIN:
        if (!h->token_id || !h->csr || !h->mac)
            return refuse(reterr, "/token_id", "token_id, csr and mac are required");
        return 0;
    case TUNNEL_NONE:
    case TUNNEL_CREDENTIAL_COUNT:
    default:
        return refuse(reterr, "/credential", "is none that this build knows");
    }
}

static int check(struct wire *w, bool is_accepting_side, struct json_error *reterr)
{
    struct ulid id;

    if (!ulid_parse(span_str(w->hello.boot_id), &id))
        return refuse(reterr, "/boot_id", "must be a ULID");
    if (w->hello.id[0] && !ulid_parse(span_str(w->hello.id), &id))
        return refuse(reterr, "/id", "must be a ULID");
    if (!to_bytes(w->nonce, w->hello.nonce))
        return refuse(reterr, "/nonce", "must be 32 bytes as base64url");
    if (w->hello.replaces[0] && !ulid_parse(span_str(w->hello.replaces), &id))
        return refuse(reterr, "/replaces", "must be a ULID");
    if (!is_accepting_side)
        return check_credential(w, reterr);
    if (w->hello.worker && w->hello.worker >= w->hello.workers)
        return refuse(reterr, "/worker", "must be below workers");
    return to_bytes(w->secret, w->hello.session.secret)
               ? 0 : refuse(reterr, "/secret", "must be 32 bytes as base64url");
}

int hello_decode(struct span json, bool is_accepting_side, struct tunnel_hello *ret_hello,
                 struct json_error *reterr)
{
    const struct json_field *fields = is_accepting_side ? accepting_fields : dialling_fields;
    size_t count = is_accepting_side ? ARRAY_LEN(accepting_fields) : ARRAY_LEN(dialling_fields);
    struct wire w = { 0 };
    int r = json_decode_text(json, fields, count, JSON_ALLOW_UNKNOWN, &w, reterr);

    if (r)
        return r;
    r = check(&w, is_accepting_side, reterr);
    if (r)
        hello_deinit(&w.hello);
    else
        *ret_hello = w.hello;
    secret_wipe(&w, sizeof(w));
    return r;
}

void hello_encode(const struct tunnel_hello *h, struct buf *out)
{
    bool is_accepting_side = h->credential == TUNNEL_NONE;
    struct wire w = { .hello = *h };

    to_text(h->nonce, w.nonce);
    if (is_accepting_side)
        to_text(h->session.secret, w.secret);
    if (h->credential == TUNNEL_SESSION)
        to_text(h->proof, w.proof);
    snprintf(w.credential, sizeof(w.credential), "%s", credential_names[h->credential]);
    if (is_accepting_side)
        json_encode(&w, accepting_fields, ARRAY_LEN(accepting_fields), out);
    else
        json_encode(&w, dialling_fields, ARRAY_LEN(dialling_fields), out);
    secret_wipe(&w, sizeof(w));
}

static void free_strs(struct json_strs *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->items[i]);
    free(s->items);
}

void hello_deinit(struct tunnel_hello *h)
{
    free_strs(&h->features);
    free_strs(&h->relays);
    free(h->chain_pem);
    free(h->signature);
    free(h->token_id);
    free(h->csr);
    free(h->mac);
    secret_wipe(h, sizeof(*h));
}

/* --- proofs -------------------------------------------------------------------------- */
void hello_proof(const struct tunnel_hello *accepting, const struct tunnel_hello *dialling,
                 struct span secret, unsigned char ret_proof[TUNNEL_PROOF_LEN])
{
    const struct span parts[] = {
        span_of(accepting->nonce, TUNNEL_NONCE_LEN),
        span_of(dialling->nonce, TUNNEL_NONCE_LEN),
        span_str(dialling->boot_id),
    };

    hmac_sha256_parts(secret, parts, ARRAY_LEN(parts), ret_proof);
}

bool hello_proof_is_right(const struct tunnel_hello *accepting, const struct tunnel_hello *dialling,
                          struct span secret)
{
    unsigned char right[TUNNEL_PROOF_LEN];

    hello_proof(accepting, dialling, secret, right);
    return span_eq_secret(span_of(right, sizeof(right)), span_of(dialling->proof, sizeof(right)));
}

static void put_signed(const struct tunnel_hello *accepting, const struct tunnel_hello *dialling,
                       struct buf *out)
{
    buf_put_str(out, "adit-hello/v1");
    buf_put_u8(out, 0);
    buf_put(out, accepting->nonce, TUNNEL_NONCE_LEN);
    buf_put(out, dialling->nonce, TUNNEL_NONCE_LEN);
    buf_put_str(out, accepting->id);
}

int hello_sign(const struct tunnel_hello *accepting, struct tunnel_hello *dialling,
               const struct key *key)
{
    unsigned char bytes[128], signature[KEY_SIGNATURE_MAX], text[2 * KEY_SIGNATURE_MAX];
    struct buf b, s, t;
    int r;

    buf_init_fixed(&b, bytes, sizeof(bytes));
    buf_init_fixed(&s, signature, sizeof(signature));
    buf_init_fixed(&t, text, sizeof(text));
    put_signed(accepting, dialling, &b);
    r = key_sign(key, buf_span(&b), &s);
    if (r)
        return r;
    base64url_encode(buf_span(&s), &t);
    dialling->signature = span_dup(buf_span(&t));
    return dialling->signature ? 0 : -ENOMEM;
}

enum reason hello_check_signature(const struct tunnel_hello *accepting,
                                  const struct tunnel_hello *dialling, const struct trust *trust,
                                  enum cert_kind kind, int64_t now_s, struct identity *ret_identity)
{
    AUTO(chain_freep) struct chain *chain = NULL;
    AUTO(key_freep) struct key *key = NULL;
    unsigned char bytes[128], signature[KEY_SIGNATURE_MAX];
    struct identity identity;
    struct buf b, s;
    enum reason why;

    buf_init_fixed(&b, bytes, sizeof(bytes));
    buf_init_fixed(&s, signature, sizeof(signature));
    if (dialling->credential != TUNNEL_SIGNATURE)
        return REASON_BAD_PROOF;
    if (chain_parse_pem(span_str(dialling->chain_pem), &chain))
        return REASON_BAD_CERTIFICATE;
    why = chain_verify(chain, trust, kind, now_s, CERT_EXPIRY_MAY_RENEW, &identity);
    if (why)
        return why;
    put_signed(accepting, dialling, &b);
    if (chain_public_key(chain, 0, &key) || !base64url_decode(span_str(dialling->signature), &s) ||
        !key_verify(key, buf_span(&b), buf_span(&s)))
        return REASON_BAD_PROOF;
    *ret_identity = identity;
    return REASON_NONE;
}

enum hello_order hello_order(struct span old_boot_id, int64_t old_starts, struct span new_boot_id,
                             int64_t new_starts)
{
    if (span_eq(old_boot_id, new_boot_id))
        return HELLO_SAME;
    return new_starts > old_starts ? HELLO_NEWER : HELLO_OLDER;
}
