#include "lib/member/member.h"
#include "lib/crypto/file.h"
#include "lib/json/json.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#define PATH_MAX_LEN 4096
#define SMALL_FILE_MAX 65536
#define KEYSET_FILE_MAX 65536

struct member_file {                 /* member.json */
    char cluster[CERT_CLUSTER_MAX + 1];
    char pin[SHA256_HEX];
    struct json_strs addrs;
};

static const struct json_field member_fields[] = {
    { "cluster", J_TEXT, offsetof(struct member_file, cluster), sizeof_field(struct member_file, cluster), 1,
      CERT_CLUSTER_MAX, JSON_REQUIRED },
    { "pin", J_TEXT, offsetof(struct member_file, pin), sizeof_field(struct member_file, pin), SHA256_HEX - 1,
      SHA256_HEX - 1, JSON_REQUIRED },
    { "addrs", J_STRS, offsetof(struct member_file, addrs), sizeof_field(struct member_file, addrs), 1,
      MEMBER_ADDRS_MAX, JSON_REQUIRED },
};

static const char *path_of(const struct member *m, const char *file, char dst[PATH_MAX_LEN])
{
    snprintf(dst, PATH_MAX_LEN, "%s/%s", m->dir, file);    /* a cut path fails to open, and says so */
    return dst;
}

static int fail(struct buf *reterr, int error, const char *what, const char *path)
{
    buf_printf(reterr, "%s %s: %s", what, path, strerror(-error));
    return error;
}

int member_open(enum cert_kind kind, const char *dir, struct member **ret_member, struct buf *reterr)
{
    AUTO(member_freep) struct member *m = calloc(1, sizeof(*m));
    char path[PATH_MAX_LEN];
    int r;

    if (!m)
        return -ENOMEM;
    m->lock_fd = -1;
    m->kind = kind;
    m->dir = strdup(dir);
    if (!m->dir)
        return -ENOMEM;

    r = dir_make(dir, 0700);
    if (r)
        return fail(reterr, r, "cannot make the data directory", dir);

    m->lock_fd = open(path_of(m, "lock", path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (m->lock_fd < 0)
        return fail(reterr, -errno, "cannot open", path);
    if (flock(m->lock_fd, LOCK_EX | LOCK_NB)) {
        buf_printf(reterr, "another adit-%s runs on %s; stop it, or give this one a --data-dir of its own",
                   cert_kind_name(kind), dir);
        return -EBUSY;
    }
    *ret_member = TAKE(m);
    return 0;
}

void member_free(struct member *m)
{
    if (m->key)
        key_free(m->key);
    if (m->chain)
        chain_free(m->chain);
    if (m->keys)
        keyset_unref(m->keys);
    fd_closep(&m->lock_fd);
    free(m->dir);
    free(m);
}

bool member_is_joined(const struct member *m)
{
    return m->chain != NULL;
}

static int read_small(const struct member *m, const char *file, size_t max, struct buf *out)
{
    char path[PATH_MAX_LEN];

    buf_init_heap(out, max);
    return file_read(path_of(m, file, path), max, out);
}

static void copy_addrs(struct member *m, const struct json_strs *addrs)
{
    m->addr_count = 0;
    for (size_t i = 0; i < addrs->count && i < MEMBER_ADDRS_MAX; i++)
        span_copy(span_str(addrs->items[i]), m->addrs[m->addr_count++], sizeof(m->addrs[0]));
}

static int load_json(struct member *m, struct buf *reterr)
{
    AUTO(buf_deinit) struct buf text = { 0 };
    struct member_file file = { 0 };
    struct json_error error;
    int r = read_small(m, "member.json", SMALL_FILE_MAX, &text);

    if (r)
        return fail(reterr, r, "cannot read member.json in", m->dir);

    r = json_decode_text(buf_span(&text), member_fields, ARRAY_LEN(member_fields), 0, &file, &error);
    if (r) {
        buf_printf(reterr, "%s/member.json: %s %s; join again", m->dir, error.pointer, error.message);
        return r;
    }
    memcpy(m->trust.cluster, file.cluster, sizeof(file.cluster));
    memcpy(m->trust.pin, file.pin, sizeof(file.pin));
    copy_addrs(m, &file.addrs);
    json_free_fields(member_fields, ARRAY_LEN(member_fields), &file);
    return 0;
}

static int load_pem(struct member *m, struct buf *reterr)
{
    AUTO(buf_deinit) struct buf pem = { 0 };
    char pin[SHA256_HEX];
    int r = read_small(m, "member.pem", SMALL_FILE_MAX, &pem);

    if (r)
        return fail(reterr, r, "cannot read member.pem in", m->dir);

    r = key_parse_private_pem(buf_span(&pem), &m->key);
    if (!r)
        r = chain_parse_pem(buf_span(&pem), &m->chain);
    if (!r)
        r = chain_root_pin(m->chain, pin);
    secret_wipe(pem.data, pem.len);
    if (!r && (!chain_has_key(m->chain, m->key) || strcmp(pin, m->trust.pin) != 0))
        r = -EINVAL;
    if (!r)
        r = chain_identity(m->chain, &m->self);
    if (!r && m->self.kind != m->kind)
        r = -EINVAL;
    if (r)
        buf_printf(reterr, "%s/member.pem does not hold a key with its certificate of this cluster; join again",
                   m->dir);
    return r;
}

/* Counted before anything is dialled: of two processes with one key the newer is told apart. */
static int count_start(struct member *m, struct buf *reterr)
{
    AUTO(buf_deinit) struct buf text = { 0 };
    char path[PATH_MAX_LEN], digits[24];
    uint64_t starts = 0;
    int r = read_small(m, "starts", 32, &text), n;

    if (r && r != -ENOENT)
        return fail(reterr, r, "cannot read", path_of(m, "starts", path));
    if (!r && !span_to_u64(span_first(buf_span(&text), span_find(buf_span(&text), '\n')), INT64_MAX - 1, &starts))
        starts = 0;

    m->starts = (int64_t)starts + 1;
    n = snprintf(digits, sizeof(digits), "%lld", (long long)m->starts);
    r = file_write_atomic(path_of(m, "starts", path), span_of(digits, (size_t)n), 0600);
    return r ? fail(reterr, r, "cannot write", path) : 0;
}

static void load_keyset(struct member *m)
{
    AUTO(buf_deinit) struct buf text = { 0 };
    AUTO(buf_deinit) struct buf pem = { 0 };
    struct state_error error;

    buf_init_heap(&pem, CERT_PEM_MAX);
    if (read_small(m, "keyset", KEYSET_FILE_MAX, &text) || chain_pem(m->chain, &pem))
        return;
    if (keyset_open_pinned(buf_span(&text), m->trust.cluster, buf_span(&pem), m->trust.pin, &m->keys, &error))
        m->keys = NULL;            /* the relay brings it again */
}

int member_load(struct member *m, struct buf *reterr)
{
    int r = load_json(m, reterr);

    if (r == -ENOENT) {
        buf_clear(reterr);
        buf_printf(reterr, "this machine has not joined yet; run: adit-%s join TOKEN --data-dir %s",
                   cert_kind_name(m->kind), m->dir);
    }
    if (!r)
        r = load_pem(m, reterr);
    if (!r)
        r = count_start(m, reterr);
    if (!r)
        load_keyset(m);
    return r;
}

/* --- keeping ------------------------------------------------------------------------------ */

static int save_pem(struct member *m, struct buf *reterr)
{
    AUTO(buf_deinit) struct buf pem = { 0 };
    char path[PATH_MAX_LEN];
    int r;

    buf_init_heap(&pem, KEY_PEM_MAX + CERT_PEM_MAX);
    r = key_private_pem(m->key, &pem);
    if (!r)
        r = chain_pem(m->chain, &pem);
    if (!r)
        r = file_write_atomic(path_of(m, "member.pem", path), buf_span(&pem), 0600);
    secret_wipe(pem.data, pem.len);
    return r ? fail(reterr, r, "cannot write member.pem in", m->dir) : 0;
}

static int save_json(struct member *m, struct buf *reterr)
{
    AUTO(buf_deinit) struct buf text = { 0 };
    struct json_writer w;
    char path[PATH_MAX_LEN];
    int r;

    buf_init_heap(&text, SMALL_FILE_MAX);
    json_begin(&w, &text);
    json_open_object(&w, NULL);
    json_put_text(&w, "cluster", m->trust.cluster);
    json_put_text(&w, "pin", m->trust.pin);
    json_open_array(&w, "addrs");
    for (size_t i = 0; i < m->addr_count; i++)
        json_put_text(&w, NULL, m->addrs[i]);
    json_close_array(&w);
    json_close_object(&w);
    r = buf_error(&text);
    if (!r)
        r = file_write_atomic(path_of(m, "member.json", path), buf_span(&text), 0600);
    return r ? fail(reterr, r, "cannot write member.json in", m->dir) : 0;
}

/* Takes key and chain over if the pinned root vouches for them. */
static int take_chain(struct member *m, struct key *key, struct span chain_pem_text, int64_t now_s,
                      struct buf *reterr)
{
    AUTO(chain_freep) struct chain *chain = NULL;
    struct identity self;
    enum reason why;
    int r = chain_parse_pem(chain_pem_text, &chain);

    if (r) {
        buf_printf(reterr, "the certificate that came is malformed");
        return r;
    }
    why = chain_verify(chain, &m->trust, m->kind, now_s, CERT_EXPIRY_STRICT, &self);
    if (why != REASON_NONE) {
        buf_printf(reterr, "the certificate that came is refused (%s): %s %s", reason_text(why), reason_what(why),
                   reason_cure(why));
        return -EPERM;
    }
    if (!chain_has_key(chain, key) ||
        (m->self.id.text[0] && strcmp(m->self.id.text, self.id.text) != 0)) {
        buf_printf(reterr, "the certificate that came is for another key or member");
        return -EPERM;
    }

    key_ref(key);                   /* it may be the one we hold */
    if (m->key)
        key_free(m->key);
    if (m->chain)
        chain_free(m->chain);
    m->key = key;
    m->chain = TAKE(chain);
    m->self = self;
    return 0;
}

int member_adopt(struct member *m, const struct join_token *token, struct key *key,
                   struct span chain_pem_text, int64_t now_s, struct buf *reterr)
{
    int r;

    memcpy(m->trust.cluster, token->cluster, sizeof(m->trust.cluster));
    memcpy(m->trust.pin, token->pin, sizeof(m->trust.pin));
    memset(&m->self, 0, sizeof(m->self));
    m->addr_count = token->addr_count;
    memcpy(m->addrs, token->addrs, sizeof(m->addrs));

    r = take_chain(m, key, chain_pem_text, now_s, reterr);
    if (!r)
        r = save_pem(m, reterr);
    if (!r)
        r = save_json(m, reterr);
    return r;
}

int member_renew(struct member *m, struct key *key, struct span chain_pem_text, int64_t now_s,
                   struct buf *reterr)
{
    int r = take_chain(m, key, chain_pem_text, now_s, reterr);

    return r ? r : save_pem(m, reterr);
}

int64_t member_renew_at_s(const struct member *m)
{
    return m->self.not_before_s + (m->self.not_after_s - m->self.not_before_s) / 3;
}

int member_keep_keyset(struct member *m, struct span text, struct state_error *reterr)
{
    AUTO(keyset_unrefp) struct keyset *keys = NULL;
    AUTO(buf_deinit) struct buf pem = { 0 };
    char path[PATH_MAX_LEN];
    int r;

    buf_init_heap(&pem, CERT_PEM_MAX);
    r = chain_pem(m->chain, &pem);
    if (!r)
        r = keyset_open_pinned(text, m->trust.cluster, buf_span(&pem), m->trust.pin, &keys, reterr);
    if (r)
        return r;
    if (m->keys && keyset_serial(keys) <= keyset_serial(m->keys))
        return 0;                   /* known already, or older: nothing to take */

    if (m->keys)
        keyset_unref(m->keys);
    m->keys = TAKE(keys);
    return file_write_atomic(path_of(m, "keyset", path), text, 0600);
}

int relay_address_parse(const char *addr, char ret_host[RELAY_HOST_MAX], uint16_t *ret_port, struct buf *reterr)
{
    struct span text = span_str(addr), host;

    if (span_starts(text, SPAN("wss://")))
        text = span_skip(text, 6);
    text = span_first(text, span_find(text, '/'));
    if (authority_parse(text, RELAY_PORT, &host, ret_port) && span_copy(host, ret_host, RELAY_HOST_MAX))
        return 0;
    buf_printf(reterr, "relay address %s is not of the form host:port", addr);
    return -EINVAL;
}
