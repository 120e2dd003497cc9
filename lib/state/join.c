#include "lib/state/join.h"
#include "lib/base/encode.h"
#include "lib/json/json.h"
#include "lib/crypto/digest.h"
#include <errno.h>
#include <string.h>

static const char prefix[] = "adit-join-1.";

struct join_json {
    char id[ULID_LEN + 1];
    char secret[JOIN_MAC_LEN + 1];
    char kind[16];
    char cluster[CERT_CLUSTER_MAX + 1];
    struct json_strs addrs;
    char pin[SHA256_HEX];
};

#define TEXT(key_, field_, min_) \
    { key_, J_TEXT, offsetof(struct join_json, field_), sizeof_field(struct join_json, field_), \
      min_, sizeof_field(struct join_json, field_) - 1, JSON_REQUIRED }
static const struct json_field fields[] = {
    TEXT("id", id, ULID_LEN),
    TEXT("secret", secret, JOIN_MAC_LEN),
    TEXT("kind", kind, 1),
    TEXT("cluster", cluster, 1),
    { "addrs", J_STRS, offsetof(struct join_json, addrs), 0, 1, JOIN_ADDRS_MAX, JSON_REQUIRED },
    TEXT("pin", pin, SHA256_HEX - 1),
};

static void join_json_deinit(struct join_json *j)
{
    json_free_fields(fields, ARRAY_LEN(fields), j);
    secret_wipe(j, sizeof(*j));
}

static void buf_wipe(struct buf *b)
{
    if (b->data)
        secret_wipe(b->data, b->len);
    buf_deinit(b);
}

static void put_token(const struct join_token *t, struct buf *json)
{
    char mem[JOIN_MAC_LEN];
    struct buf secret;
    struct json_writer w;

    buf_init_fixed(&secret, mem, sizeof(mem));
    base64url_encode(span_of(t->secret, sizeof(t->secret)), &secret);
    json_begin(&w, json);
    json_open_object(&w, NULL);
    json_put_text(&w, "id", t->id.text);
    json_put_str(&w, "secret", buf_span(&secret));
    json_put_text(&w, "kind", cert_kind_name(t->kind));
    json_put_text(&w, "cluster", t->cluster);
    json_open_array(&w, "addrs");
    for (size_t i = 0; i < t->addr_count; i++)
        json_put_text(&w, NULL, t->addrs[i]);
    json_close_array(&w);
    json_put_text(&w, "pin", t->pin);
    json_close_object(&w);
    secret_wipe(mem, sizeof(mem));
}

int join_token_format(const struct join_token *t, struct buf *out)
{
    AUTO(buf_wipe) struct buf json = { 0 };

    if (t->addr_count < 1 || t->addr_count > JOIN_ADDRS_MAX)
        return -EINVAL;
    buf_init_heap(&json, JOIN_TOKEN_MAX);
    put_token(t, &json);
    if (buf_error(&json))
        return buf_error(&json);
    buf_put_str(out, prefix);
    base64url_encode(buf_span(&json), out);
    return buf_error(out);
}

static bool is_hex(const char *text)
{
    unsigned char mem[SHA256_LEN];
    struct buf out;

    buf_init_fixed(&out, mem, sizeof(mem));
    return hex_decode(span_str(text), &out) && out.len == sizeof(mem);
}

static bool token_of(const struct join_json *j, struct join_token *t)
{
    struct buf secret;

    buf_init_fixed(&secret, t->secret, sizeof(t->secret));
    if (!ulid_parse(span_str(j->id), &t->id) || !cert_kind_parse(span_str(j->kind), &t->kind) ||
        (t->kind != CERT_AGENT && t->kind != CERT_RELAY) || !is_hex(j->pin) ||
        !base64url_decode(span_str(j->secret), &secret) || secret.len != sizeof(t->secret))
        return false;
    memcpy(t->cluster, j->cluster, sizeof(t->cluster));
    memcpy(t->pin, j->pin, sizeof(t->pin));
    for (size_t i = 0; i < j->addrs.count; i++) {
        if (!span_copy(span_str(j->addrs.items[i]), t->addrs[i], sizeof(t->addrs[i])))
            return false;
    }
    t->addr_count = j->addrs.count;
    return true;
}

int join_token_parse(struct span text, struct join_token *ret_token)
{
    AUTO(join_json_deinit) struct join_json j = { 0 };
    AUTO(buf_wipe) struct buf json = { 0 };
    struct join_token t = { 0 };
    struct json_error e;
    int r;

    if (text.n > JOIN_TOKEN_MAX || !span_starts(text, span_str(prefix)))
        return -EINVAL;
    buf_init_heap(&json, JOIN_TOKEN_MAX);
    if (!base64url_decode(span_skip(text, sizeof(prefix) - 1), &json))
        return buf_error(&json) == -ENOMEM ? -ENOMEM : -EINVAL;
    r = json_decode_text(buf_span(&json), fields, ARRAY_LEN(fields), JSON_ALLOW_UNKNOWN, &j, &e);
    if (r)
        return r;
    if (!token_of(&j, &t)) {
        join_token_wipe(&t);
        return -EINVAL;
    }
    *ret_token = t;
    join_token_wipe(&t);
    return 0;
}

void join_token_wipe(struct join_token *t)
{
    secret_wipe(t, sizeof(*t));
}

void join_mac(const unsigned char secret[JOIN_SECRET_LEN], const struct ulid *id,
              struct span csr_der, char ret_mac[JOIN_MAC_LEN + 1])
{
    static const char purpose[] = "adit-join/v1";       /* with its NUL */
    const struct span parts[] = { span_of(purpose, sizeof(purpose)), ulid_span(id),
                                  span_of("", 1), csr_der };
    unsigned char mac[SHA256_LEN];
    struct buf out;

    hmac_sha256_parts(span_of(secret, JOIN_SECRET_LEN), parts, ARRAY_LEN(parts), mac);
    buf_init_fixed(&out, ret_mac, JOIN_MAC_LEN);
    base64url_encode(span_of(mac, sizeof(mac)), &out);
    ret_mac[JOIN_MAC_LEN] = '\0';
}

bool join_mac_check(const unsigned char secret[JOIN_SECRET_LEN], const struct ulid *id,
                    struct span csr_der, struct span mac)
{
    char want[JOIN_MAC_LEN + 1];

    join_mac(secret, id, csr_der, want);
    return span_eq_secret(span_str(want), mac);
}
