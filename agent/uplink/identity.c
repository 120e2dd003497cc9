#include "agent/uplink/identity.h"
#include "lib/crypto/file.h"
#include "lib/json/json.h"
#include "lib/log/log.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#define PATH_MAX_LEN 4096
#define SMALL_FILE_MAX 65536
#define KEYSET_FILE_MAX 65536

struct agent_file {                 /* agent.json */
    char cluster[CERT_CLUSTER_MAX + 1];
    char pin[SHA256_HEX];
    struct json_strs addrs;
};

static const struct json_field agent_fields[] = {
    { "cluster", J_TEXT, offsetof(struct agent_file, cluster), sizeof_field(struct agent_file, cluster), 1,
      CERT_CLUSTER_MAX, JSON_REQUIRED },
    { "pin", J_TEXT, offsetof(struct agent_file, pin), sizeof_field(struct agent_file, pin), SHA256_HEX - 1,
      SHA256_HEX - 1, JSON_REQUIRED },
    { "addrs", J_STRS, offsetof(struct agent_file, addrs), sizeof_field(struct agent_file, addrs), 1,
      IDENTITY_ADDRS_MAX, JSON_REQUIRED },
};

static const char *path_of(const struct agent_identity *id, const char *file, char dst[PATH_MAX_LEN])
{
    snprintf(dst, PATH_MAX_LEN, "%s/%s", id->dir, file);    /* a cut path fails to open, and says so */
    return dst;
}

static int fail(struct buf *reterr, int error, const char *what, const char *path)
{
    buf_printf(reterr, "%s %s: %s", what, path, strerror(-error));
    return error;
}

int identity_open(const char *dir, struct agent_identity **ret_identity, struct buf *reterr)
{
    AUTO(identity_freep) struct agent_identity *id = calloc(1, sizeof(*id));
    char path[PATH_MAX_LEN];
    int r;

    if (!id)
        return -ENOMEM;
    id->lock_fd = -1;
    id->dir = strdup(dir);
    if (!id->dir)
        return -ENOMEM;

    r = dir_make(dir, 0700);
    if (r)
        return fail(reterr, r, "cannot make the data directory", dir);

    id->lock_fd = open(path_of(id, "lock", path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (id->lock_fd < 0)
        return fail(reterr, -errno, "cannot open", path);
    if (flock(id->lock_fd, LOCK_EX | LOCK_NB)) {
        buf_printf(reterr, "another agent runs on %s; stop it, or give this one a --data-dir of its own", dir);
        return -EBUSY;
    }
    *ret_identity = TAKE(id);
    return 0;
}

void identity_free(struct agent_identity *id)
{
    if (id->key)
        key_free(id->key);
    if (id->chain)
        chain_free(id->chain);
    if (id->keys)
        keyset_unref(id->keys);
    fd_closep(&id->lock_fd);
    free(id->dir);
    free(id);
}

bool identity_is_joined(const struct agent_identity *id)
{
    return id->chain != NULL;
}

static int read_small(const struct agent_identity *id, const char *file, size_t max, struct buf *out)
{
    char path[PATH_MAX_LEN];

    buf_init_heap(out, max);
    return file_read(path_of(id, file, path), max, out);
}

static void copy_addrs(struct agent_identity *id, const struct json_strs *addrs)
{
    id->addr_count = 0;
    for (size_t i = 0; i < addrs->count && i < IDENTITY_ADDRS_MAX; i++)
        span_copy(span_str(addrs->items[i]), id->addrs[id->addr_count++], sizeof(id->addrs[0]));
}

static int load_json(struct agent_identity *id, struct buf *reterr)
{
    AUTO(buf_deinit) struct buf text = { 0 };
    struct agent_file file = { 0 };
    struct json_error error;
    int r = read_small(id, "agent.json", SMALL_FILE_MAX, &text);

    if (r)
        return fail(reterr, r, "cannot read agent.json in", id->dir);

    r = json_decode_text(buf_span(&text), agent_fields, ARRAY_LEN(agent_fields), 0, &file, &error);
    if (r) {
        buf_printf(reterr, "%s/agent.json: %s %s; join again", id->dir, error.pointer, error.message);
        return r;
    }
    memcpy(id->trust.cluster, file.cluster, sizeof(file.cluster));
    memcpy(id->trust.pin, file.pin, sizeof(file.pin));
    copy_addrs(id, &file.addrs);
    json_free_fields(agent_fields, ARRAY_LEN(agent_fields), &file);
    return 0;
}

static int load_pem(struct agent_identity *id, struct buf *reterr)
{
    AUTO(buf_deinit) struct buf pem = { 0 };
    char pin[SHA256_HEX];
    int r = read_small(id, "agent.pem", SMALL_FILE_MAX, &pem);

    if (r)
        return fail(reterr, r, "cannot read agent.pem in", id->dir);

    r = key_parse_private_pem(buf_span(&pem), &id->key);
    if (!r)
        r = chain_parse_pem(buf_span(&pem), &id->chain);
    if (!r)
        r = chain_root_pin(id->chain, pin);
    secret_wipe(pem.data, pem.len);
    if (!r && (!chain_has_key(id->chain, id->key) || strcmp(pin, id->trust.pin) != 0))
        r = -EINVAL;
    if (!r)
        r = chain_identity(id->chain, &id->self);
    if (r)
        buf_printf(reterr, "%s/agent.pem does not hold a key with its certificate of this cluster; join again",
                   id->dir);
    return r;
}

/* Counted before anything is dialled: of two agents with one key the newer is told apart. */
static int count_start(struct agent_identity *id, struct buf *reterr)
{
    AUTO(buf_deinit) struct buf text = { 0 };
    char path[PATH_MAX_LEN], digits[24];
    uint64_t starts = 0;
    int r = read_small(id, "starts", 32, &text), n;

    if (r && r != -ENOENT)
        return fail(reterr, r, "cannot read", path_of(id, "starts", path));
    if (!r && !span_to_u64(buf_span(&text), INT64_MAX - 1, &starts))
        starts = 0;

    id->starts = (int64_t)starts + 1;
    n = snprintf(digits, sizeof(digits), "%lld", (long long)id->starts);
    r = file_write_atomic(path_of(id, "starts", path), span_of(digits, (size_t)n), 0600);
    return r ? fail(reterr, r, "cannot write", path) : 0;
}

static void load_keyset(struct agent_identity *id)
{
    AUTO(buf_deinit) struct buf text = { 0 };
    AUTO(buf_deinit) struct buf pem = { 0 };
    struct state_error error;

    buf_init_heap(&pem, CERT_PEM_MAX);
    if (read_small(id, "keyset", KEYSET_FILE_MAX, &text) || chain_pem(id->chain, &pem))
        return;
    if (keyset_open_pinned(buf_span(&text), id->trust.cluster, buf_span(&pem), id->trust.pin, &id->keys, &error))
        id->keys = NULL;            /* the relay brings it again */
}

int identity_load(struct agent_identity *id, struct buf *reterr)
{
    int r = load_json(id, reterr);

    if (r == -ENOENT) {
        buf_clear(reterr);
        buf_printf(reterr, "this agent has not joined yet; run: adit-agent join TOKEN --data-dir %s", id->dir);
    }
    if (!r)
        r = load_pem(id, reterr);
    if (!r)
        r = count_start(id, reterr);
    if (!r)
        load_keyset(id);
    return r;
}

/* --- keeping ------------------------------------------------------------------------------ */

static int save_pem(struct agent_identity *id, struct buf *reterr)
{
    AUTO(buf_deinit) struct buf pem = { 0 };
    char path[PATH_MAX_LEN];
    int r;

    buf_init_heap(&pem, KEY_PEM_MAX + CERT_PEM_MAX);
    r = key_private_pem(id->key, &pem);
    if (!r)
        r = chain_pem(id->chain, &pem);
    if (!r)
        r = file_write_atomic(path_of(id, "agent.pem", path), buf_span(&pem), 0600);
    secret_wipe(pem.data, pem.len);
    return r ? fail(reterr, r, "cannot write agent.pem in", id->dir) : 0;
}

static int save_json(struct agent_identity *id, struct buf *reterr)
{
    AUTO(buf_deinit) struct buf text = { 0 };
    struct json_writer w;
    char path[PATH_MAX_LEN];
    int r;

    buf_init_heap(&text, SMALL_FILE_MAX);
    json_begin(&w, &text);
    json_open_object(&w, NULL);
    json_put_text(&w, "cluster", id->trust.cluster);
    json_put_text(&w, "pin", id->trust.pin);
    json_open_array(&w, "addrs");
    for (size_t i = 0; i < id->addr_count; i++)
        json_put_text(&w, NULL, id->addrs[i]);
    json_close_array(&w);
    json_close_object(&w);
    r = buf_error(&text);
    if (!r)
        r = file_write_atomic(path_of(id, "agent.json", path), buf_span(&text), 0600);
    return r ? fail(reterr, r, "cannot write agent.json in", id->dir) : 0;
}

/* Takes key and chain over if the pinned root vouches for them. */
static int take_chain(struct agent_identity *id, struct key *key, struct span chain_pem_text, int64_t now_s,
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
    why = chain_verify(chain, &id->trust, CERT_AGENT, now_s, CERT_EXPIRY_STRICT, &self);
    if (why != REASON_NONE) {
        buf_printf(reterr, "the certificate that came is refused (%s): %s %s", reason_text(why), reason_what(why),
                   reason_cure(why));
        return -EPERM;
    }
    if (!chain_has_key(chain, key) ||
        (id->self.id.text[0] && strcmp(id->self.id.text, self.id.text) != 0)) {
        buf_printf(reterr, "the certificate that came is for another key or agent");
        return -EPERM;
    }

    if (id->key)
        key_free(id->key);
    if (id->chain)
        chain_free(id->chain);
    id->key = key_ref(key);
    id->chain = TAKE(chain);
    id->self = self;
    return 0;
}

int identity_adopt(struct agent_identity *id, const struct join_token *token, struct key *key,
                   struct span chain_pem_text, int64_t now_s, struct buf *reterr)
{
    int r;

    memcpy(id->trust.cluster, token->cluster, sizeof(id->trust.cluster));
    memcpy(id->trust.pin, token->pin, sizeof(id->trust.pin));
    memset(&id->self, 0, sizeof(id->self));
    id->addr_count = token->addr_count;
    memcpy(id->addrs, token->addrs, sizeof(id->addrs));

    r = take_chain(id, key, chain_pem_text, now_s, reterr);
    if (!r)
        r = save_pem(id, reterr);
    if (!r)
        r = save_json(id, reterr);
    return r;
}

int identity_renew(struct agent_identity *id, struct key *key, struct span chain_pem_text, int64_t now_s,
                   struct buf *reterr)
{
    int r = take_chain(id, key, chain_pem_text, now_s, reterr);

    return r ? r : save_pem(id, reterr);
}

int64_t identity_renew_at_s(const struct agent_identity *id)
{
    return id->self.not_before_s + (id->self.not_after_s - id->self.not_before_s) / 3;
}

int identity_keep_keyset(struct agent_identity *id, struct span text, struct state_error *reterr)
{
    AUTO(keyset_unrefp) struct keyset *keys = NULL;
    AUTO(buf_deinit) struct buf pem = { 0 };
    char path[PATH_MAX_LEN];
    int r;

    buf_init_heap(&pem, CERT_PEM_MAX);
    r = chain_pem(id->chain, &pem);
    if (!r)
        r = keyset_open_pinned(text, id->trust.cluster, buf_span(&pem), id->trust.pin, &keys, reterr);
    if (r)
        return r;
    if (id->keys && keyset_serial(keys) <= keyset_serial(id->keys))
        return 0;                   /* known already, or older: nothing to take */

    if (id->keys)
        keyset_unref(id->keys);
    id->keys = TAKE(keys);
    return file_write_atomic(path_of(id, "keyset", path), text, 0600);
}

static int open_policy(struct agent_identity *id, struct span text, const struct agentpolicy_header *newest,
                       struct agent_reach **ret_reach, struct state_error *reterr)
{
    struct agentpolicy_header header;
    int r;

    if (!id->keys) {
        snprintf(reterr->text, sizeof(reterr->text), "no key set has come yet to verify the agent policy with");
        return DOCUMENT_E_REJECTED;
    }
    r = agentpolicy_open(text, id->keys, id->self.id.text, newest, &header, ret_reach, reterr);
    if (!r)
        id->policy = header;
    return r;
}

int identity_keep_policy(struct agent_identity *id, struct span text, struct agent_reach **ret_reach,
                         struct state_error *reterr)
{
    char path[PATH_MAX_LEN];
    int r = open_policy(id, text, &id->policy, ret_reach, reterr);

    if (r)
        return r;
    /* A full disk must not keep a narrower policy from being in force. */
    r = file_write_atomic(path_of(id, "policy", path), text, 0600);
    if (r)
        LOG(WARNING, "agent.policy_not_kept", S("path", path), E(r));
    return 0;
}

struct agent_reach *identity_kept_reach(struct agent_identity *id)
{
    AUTO(buf_deinit) struct buf text = { 0 };
    struct agent_reach *reach = NULL;
    struct state_error error;

    if (read_small(id, "policy", AGENTPOLICY_MAX, &text))
        return NULL;
    return open_policy(id, buf_span(&text), NULL, &reach, &error) ? NULL : reach;
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
