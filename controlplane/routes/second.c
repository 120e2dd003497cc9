#include "controlplane/routes/second.h"
#include "lib/crypto/random.h"
#include "lib/crypto/totp.h"

#include <errno.h>
#include <string.h>

#define ACTIVE "totp"
#define PENDING "totp.pending"
#define STEP "totp.step"
#define RECOVERY "totp.recovery"
#define HASH_LEN (SHA256_HEX - 1)

int second_get(struct store_tx *tx, const struct ulid *user, struct second *ret_second)
{
    struct store_secret secret;
    int r = store_secret_get(tx, user, ACTIVE, &secret);

    *ret_second = (struct second){ 0 };
    if (r)
        return r == STORE_E_NOT_FOUND ? 0 : r;
    ret_second->is_active = true;
    ret_second->set_ms = secret.set_ms;
    r = store_secret_get(tx, user, RECOVERY, &secret);
    if (!r)
        ret_second->recovery_left = (unsigned)(secret.value_len / HASH_LEN);
    return r == STORE_E_NOT_FOUND ? 0 : r;
}

/* ---- the secret, sealed for its user ---- */
static int put_secret(struct call *c, const struct ulid *user, const char *purpose, const unsigned char *secret)
{
    unsigned char mem[TOTP_SECRET_LEN + SEAL_OVERHEAD];
    struct buf sealed;
    int r;

    buf_init_fixed(&sealed, mem, sizeof(mem));
    r = seal(&c->api->options.kek, ulid_span(user), span_of(secret, TOTP_SECRET_LEN), &sealed);
    return r ? r : store_secret_put(c->tx, user, purpose, buf_span(&sealed), "");
}

void second_penalty_key(const struct ulid *user, char ret_key[SECOND_KEY_MAX])
{
    snprintf(ret_key, SECOND_KEY_MAX, "totp:%s", user->text);
}

/* STORE_E_NOT_FOUND. */
static int get_secret(struct call *c, const struct ulid *user, const char *purpose,
                      unsigned char ret_secret[TOTP_SECRET_LEN])
{
    struct store_secret kept;
    struct buf plain;
    int r = store_secret_get(c->tx, user, purpose, &kept);

    if (r)
        return r;
    buf_init_fixed(&plain, ret_secret, TOTP_SECRET_LEN);
    r = unseal(&c->api->options.kek, ulid_span(user), span_of(kept.value, kept.value_len), &plain);
    return r ? r : plain.len == TOTP_SECRET_LEN ? 0 : -EBADMSG;
}

int second_begin(struct call *c, const struct ulid *user, struct buf *ret_text)
{
    unsigned char secret[TOTP_SECRET_LEN];
    char text[TOTP_TEXT_LEN + 1];
    int r;

    totp_secret_make(secret);
    totp_base32(secret, sizeof(secret), text, sizeof(text));
    buf_put_str(ret_text, text);
    r = put_secret(c, user, PENDING, secret);
    secret_wipe(secret, sizeof(secret));
    secret_wipe(text, sizeof(text));
    return r ? r : buf_error(ret_text);
}

/* ---- codes ---- */
static int last_step(struct call *c, const struct ulid *user, uint64_t *ret_step)
{
    struct store_secret kept;
    int r = store_secret_get(c->tx, user, STEP, &kept);

    *ret_step = 0;
    if (r)
        return r == STORE_E_NOT_FOUND ? 0 : r;
    return span_to_u64(span_of(kept.value, kept.value_len), INT64_MAX, ret_step) ? 0 : -EBADMSG;
}

static int put_step(struct call *c, const struct ulid *user, uint64_t step)
{
    char mem[24];
    struct buf text;

    buf_init_fixed(&text, mem, sizeof(mem));
    buf_put_decimal(&text, (int64_t)step);
    return store_secret_put(c->tx, user, STEP, buf_span(&text), "");
}

/* A code of the secret under `purpose` that is newer than the last one that was taken. */
static int use_code(struct call *c, const struct ulid *user, const char *purpose, struct span code, bool *ret_is_right)
{
    int64_t now_s = (int64_t)(store_now_ms(c->api->options.store) / 1000);
    unsigned char secret[TOTP_SECRET_LEN];
    uint64_t step, last = 0;
    int r = get_secret(c, user, purpose, secret);

    *ret_is_right = false;
    if (r)
        return r == STORE_E_NOT_FOUND ? 0 : r;
    step = totp_find(secret, code, now_s);
    secret_wipe(secret, sizeof(secret));
    r = last_step(c, user, &last);
    if (r || step <= last)
        return r;
    *ret_is_right = true;
    return put_step(c, user, step);
}

/* As it was shown, or without its dashes. */
static void hash_recovery(struct span code, char ret_hex[SHA256_HEX])
{
    char plain[SECOND_RECOVERY_LEN + 1];
    size_t n = 0;

    for (size_t i = 0; i < code.n && n < sizeof(plain); i++) {
        if (code.p[i] != '-')
            plain[n++] = code.p[i] >= 'A' && code.p[i] <= 'Z' ? (char)(code.p[i] - 'A' + 'a') : code.p[i];
    }
    sha256_hex(span_of(plain, n), ret_hex);
    secret_wipe(plain, sizeof(plain));
}

static int use_recovery(struct call *c, const struct ulid *user, struct span code, bool *ret_is_right)
{
    struct store_secret kept;
    char hash[SHA256_HEX];
    size_t at;
    int r = store_secret_get(c->tx, user, RECOVERY, &kept);

    if (r)
        return r == STORE_E_NOT_FOUND ? 0 : r;
    hash_recovery(code, hash);
    for (at = 0; at + HASH_LEN <= kept.value_len; at += HASH_LEN) {
        if (span_eq_secret(span_of(kept.value + at, HASH_LEN), span_str(hash)))
            break;
    }
    if (at + HASH_LEN > kept.value_len)
        return 0;
    *ret_is_right = true;
    memmove(kept.value + at, kept.value + at + HASH_LEN, kept.value_len - at - HASH_LEN);
    return store_secret_put(c->tx, user, RECOVERY, span_of(kept.value, kept.value_len - HASH_LEN), "");
}

int second_use(struct call *c, const struct ulid *user, struct span code, bool *ret_is_right)
{
    *ret_is_right = false;
    return code.n == TOTP_DIGITS ? use_code(c, user, ACTIVE, code, ret_is_right) :
                                   use_recovery(c, user, code, ret_is_right);
}

/* ---- confirming ---- */
static void make_recovery(char ret_code[SECOND_RECOVERY_LEN + 1])
{
    unsigned char random[10];
    char text[17];

    random_bytes(random, sizeof(random));
    totp_base32(random, sizeof(random), text, sizeof(text));
    for (size_t i = 0, at = 0; i < 16; i++) {
        if (i && i % 4 == 0)
            ret_code[at++] = '-';
        ret_code[at++] = text[i] >= 'A' ? (char)(text[i] - 'A' + 'a') : text[i];
    }
    ret_code[SECOND_RECOVERY_LEN] = '\0';
    secret_wipe(random, sizeof(random));
    secret_wipe(text, sizeof(text));
}

static int put_recovery(struct call *c, const struct ulid *user, struct buf *ret_codes)
{
    char hashes[SECOND_RECOVERY_CODES * HASH_LEN + 1], code[SECOND_RECOVERY_LEN + 1];

    for (size_t i = 0; i < SECOND_RECOVERY_CODES; i++) {
        make_recovery(code);
        hash_recovery(span_str(code), hashes + i * HASH_LEN);
        buf_printf(ret_codes, "%s\n", code);
    }
    secret_wipe(code, sizeof(code));
    return buf_error(ret_codes) ? buf_error(ret_codes) :
        store_secret_put(c->tx, user, RECOVERY, span_of(hashes, sizeof(hashes) - 1), "");
}

int second_confirm(struct call *c, const struct ulid *user, struct span code, bool *ret_is_right,
                   struct buf *ret_codes)
{
    unsigned char secret[TOTP_SECRET_LEN];
    int r = store_secret_delete(c->tx, user, STEP);     /* steps were the secret's before */

    if (!r || r == STORE_E_NOT_FOUND)
        r = use_code(c, user, PENDING, code, ret_is_right);
    if (r || !*ret_is_right)
        return r;
    r = get_secret(c, user, PENDING, secret);
    if (!r)
        r = put_secret(c, user, ACTIVE, secret);
    secret_wipe(secret, sizeof(secret));
    if (!r)
        r = store_secret_delete(c->tx, user, PENDING);
    return r ? r : put_recovery(c, user, ret_codes);
}

int second_forget(struct store_tx *tx, const struct ulid *user)
{
    static const char *const rest[] = { PENDING, STEP, RECOVERY };
    int had = store_secret_delete(tx, user, ACTIVE), r = 0;

    for (size_t i = 0; i < ARRAY_LEN(rest) && (!r || r == STORE_E_NOT_FOUND); i++)
        r = store_secret_delete(tx, user, rest[i]);
    return r && r != STORE_E_NOT_FOUND ? r : had;
}
