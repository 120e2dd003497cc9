#include "controlplane/routes/secret.h"
#include "controlplane/routes/doc.h"
#include "lib/base/encode.h"
#include "lib/crypto/random.h"
#include "lib/crypto/seal.h"
#include "lib/state/join.h"
#include <stdio.h>

#define SHOWN_MAX JOIN_TOKEN_MAX
#define PAC_SECRET_BYTES 32

void issued_init(struct issued *s)
{
    *s = (struct issued){ 0 };
    buf_init_heap(&s->shown, SHOWN_MAX);
    buf_init_heap(&s->kept, STORE_SECRET_MAX);
}

void issued_deinit(struct issued *s)
{
    secret_wipe(s->shown.data, s->shown.len);
    secret_wipe(s->kept.data, s->kept.len);
    buf_deinit(&s->shown);
    buf_deinit(&s->kept);
}

/* The fingerprint lets people tell secrets apart and says nothing about them. */
static int conclude(struct issued *s, const char *purpose, struct span hash_hex)
{
    if (buf_error(&s->shown) || buf_error(&s->kept))
        return buf_error(&s->shown) ? buf_error(&s->shown) : buf_error(&s->kept);
    (void)span_copy(span_first(hash_hex, 12), s->fingerprint, sizeof(s->fingerprint));
    s->secret = (struct change_secret){ purpose, buf_span(&s->kept), s->fingerprint };
    return 0;
}

static int make_credential(struct call *c, struct issued *s)
{
    char secret[PROXY_SECRET_LEN + 1], hash[SHA256_HEX];
    const struct keyring *keys = c->api->options.keys;
    unsigned char key[CREDENTIAL_KEY_LEN];
    int r;

    if (!keys)
        return call_refuse(c, REASON_NOT_READY, "There is no key to hash it with.");
    r = keyring_hashing_key(keys, c->tx, key);
    if (r)
        return r;
    proxy_secret_make(secret);
    proxy_secret_hash(span_of(key, sizeof(key)), span_str(secret), hash);
    secret_wipe(key, sizeof(key));
    buf_put_str(&s->shown, secret);
    buf_put_str(&s->kept, hash);
    secret_wipe(secret, sizeof(secret));
    return conclude(s, "credential", span_str(hash));
}

int issued_make_token(const char *purpose, struct issued *s)
{
    char token[API_TOKEN_LEN + 1], hash[SHA256_HEX];

    api_token_make(token);
    api_token_hash(span_str(token), hash);
    buf_put_str(&s->shown, token);
    buf_put_str(&s->kept, hash);
    secret_wipe(token, sizeof(token));
    return conclude(s, purpose, span_str(hash));
}

/* What relays serve it under; the id finds it, so that the secret is looked for nowhere. */
static int make_pac(struct call *c, const struct ulid *id, struct issued *s)
{
    unsigned char secret[PAC_SECRET_BYTES];
    char text[64], hash[SHA256_HEX];
    struct buf b;

    random_bytes(secret, sizeof(secret));
    buf_init_fixed(&b, text, sizeof(text));
    base64url_encode(span_of(secret, sizeof(secret)), &b);
    sha256_hex(buf_span(&b), hash);
    buf_printf(&s->shown, "%s/pac/%s/" SPAN_FMT, c->api->options.pac_url ? c->api->options.pac_url : "", id->text,
               SPAN_ARG(buf_span(&b)));
    buf_put_str(&s->kept, hash);
    secret_wipe(secret, sizeof(secret));
    secret_wipe(text, sizeof(text));
    return conclude(s, "pac", span_str(hash));
}

static void put_addrs(struct join_token *t, const char *const *addrs)
{
    for (size_t i = 0; i < API_JOIN_ADDRS_MAX && t->addr_count < JOIN_ADDRS_MAX && addrs[i]; i++) {
        if (span_copy(span_str(addrs[i]), t->addrs[t->addr_count], sizeof(t->addrs[0])))
            t->addr_count++;
    }
}

static int make_join(struct call *c, const struct ulid *id, const struct json_value *doc,
                     struct issued *s)
{
    const struct api_options *options = &c->api->options;
    bool is_relay = doc_is(doc, "kind", "relay");
    struct join_token token = { .id = *id, .kind = is_relay ? CERT_RELAY : CERT_AGENT };
    char hash[SHA256_HEX];
    int r;

    random_bytes(token.secret, sizeof(token.secret));
    put_addrs(&token, is_relay ? options->relay_join_addrs : options->agent_join_addrs);
    if (!span_copy(span_str(options->cluster), token.cluster, sizeof(token.cluster)) ||
        !span_copy(span_str(options->ca_pin), token.pin, sizeof(token.pin)))
        return call_refuse(c, REASON_INTERNAL, "%s", "");
    sha256_hex(span_of(token.secret, sizeof(token.secret)), hash);
    r = join_token_format(&token, &s->shown);
    if (!r)
        r = seal(&options->kek, SPAN("join"), span_of(token.secret, sizeof(token.secret)),
                 &s->kept);
    join_token_wipe(&token);
    return r ? r : conclude(s, "join", span_str(hash));
}

/* ---- secrets that others gave us ---- */
static const char *secret_field(const struct kind *kind)
{
    const struct field *field;

    for (size_t i = 0; (field = kind_field_at(kind, i)); i++) {
        if (field->flags & FIELD_SECRET)
            return field->name;
    }
    return NULL;
}

/* The fingerprint is keyed: what people chose is not to be guessed from it. */
int issued_seal(struct call *c, struct span secret, struct issued *s)
{
    const struct kek *kek = &c->api->options.kek;
    const char *purpose = secret_field(c->kind);
    unsigned char key[SHA256_LEN], mac[SHA256_LEN];
    char hex[SHA256_HEX];
    int r;

    buf_clear(&s->kept);
    s->secret = (struct change_secret){ purpose, SPAN_NONE, "" };
    if (!secret.n)
        return 0;
    hkdf_sha256(span_of(kek->bytes, KEK_LEN), SPAN_NONE, SPAN("fingerprint"), key, sizeof(key));
    hmac_sha256(span_of(key, sizeof(key)), secret, mac);
    sha256_hex(span_of(mac, sizeof(mac)), hex);
    secret_wipe(key, sizeof(key));
    r = seal(kek, span_str(purpose), secret, &s->kept);
    return r ? r : conclude(s, purpose, span_str(hex));
}

int issued_unseal(struct api *api, const struct kind *kind, const struct store_secret *secret,
                  struct buf *out)
{
    return unseal(&api->options.kek, span_str(secret_field(kind)), span_of(secret->value, secret->value_len),
                  out);
}

int issued_make(struct call *c, const struct ulid *id, const struct json_value *doc,
                struct issued *s)
{
    switch (c->kind->id) {
    case KIND_CREDENTIAL:
        return make_credential(c, s);
    case KIND_API_TOKEN:
    case KIND_SESSION:
        return issued_make_token(c->kind->purpose, s);
    case KIND_JOIN_TOKEN:
        return make_join(c, id, doc, s);
    case KIND_PAC_LINK:
        return make_pac(c, id, s);
    case KIND_IDENTITY_PROVIDER:
    case KIND_USER:
    case KIND_SERVICE_ACCOUNT:
    case KIND_GROUP:
    case KIND_AGENT:
    case KIND_AGENT_GROUP:
    case KIND_PROFILE:
    case KIND_GRANT:
    case KIND_OVERRIDE:
    case KIND_LOCK:
    case KIND_QUOTA:
    case KIND_EXPECTATION:
    case KIND_RELAY:
    case KIND_COUNT:
        break;
    }
    return 0;
}
