#pragma once
#include "controlplane/domain/right.h"
#include "controlplane/routes/api.h"
#include "controlplane/routes/change.h"
#include "controlplane/store/store_where_fixture.h"
#include "lib/base/hash.h"
#include "lib/check/check.h"
#include "lib/crypto/password.h"
#include "lib/crypto/random.h"
#include "lib/crypto/secret.h"
#include "lib/json/json.h"
#include "lib/log/log.h"
#include <arpa/inet.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
/*
 * api_fixture.h - for tests of this room: a served API over a store in a folder of its own,
 * one user of each role with a token, and a client that asks over a socket.
 */
enum { FIX_ADMIN, FIX_OPERATOR, FIX_AUDITOR, FIX_USER, FIX_VICTIM, FIX_USERS };

struct fix_user {
    const char *name, *role;
    struct ulid id, token_id;
    char token[API_TOKEN_LEN + 1];
};

struct fix {
    char dir[64];
    struct store *store;
    struct kek kek;
    struct keyring *keys;
    struct api *api;
    struct server *server;
    struct fix_user users[FIX_USERS];
};

struct fix_answer {
    int status;
    char text[262144];
    const char *body;
};

/* Made once for the program. */
static inline const struct key *test_audit_key(void)
{
    static struct key *key;

    if (!key)
        assert_int_equal(key_generate(&key), 0);
    return key;
}

static inline struct change fix_change(struct store_tx *tx)
{
    return (struct change){ .tx = tx, .event = { .actor_kind = "system", .action = "test" } };
}

static inline struct ulid fix_insert(struct fix *f, struct store_tx *tx, enum kind_id kind,
                                     const char *name, const char *doc, const struct ulid *user,
                                     struct change_secret secret)
{
    struct change c = fix_change(tx);
    struct ulid id = store_new_id(f->store);
    struct change_ref ref = { .field = "user" };

    if (user)
        ref.to = *user;
    assert_int_equal(change_insert(&c, &(struct change_object){
        .kind = kind_at(kind), .id = id, .name = span_str(name), .doc = span_str(doc),
        .refs = &ref, .ref_count = user ? 1 : 0, .secret = secret, .created_by = "test" }), 0);
    return id;
}

static inline void fix_user_make(struct fix *f, struct store_tx *tx, struct fix_user *u)
{
    char doc[256], hash[SHA256_HEX];

    snprintf(doc, sizeof(doc), "{\"status\":\"active\",\"role\":\"%s\"}", u->role);
    u->id = fix_insert(f, tx, KIND_USER, u->name, doc, NULL, (struct change_secret){ 0 });
    api_token_make(u->token);
    api_token_hash(span_str(u->token), hash);
    snprintf(doc, sizeof(doc), "{\"user\":\"%s\",\"scopes\":[\"*:*\"]}", u->id.text);
    u->token_id = fix_insert(f, tx, KIND_API_TOKEN, NULL, doc, &u->id,
                             (struct change_secret){ "api-token", span_str(hash), "" });
}

static uint64_t (*fix_clock)(void);     /* of the next store; NULL: the wall clock */

/* `tune` (may be NULL) changes the options before the API is made. */
static inline void fix_start_tuned(struct fix *f, void (*tune)(struct fix *f, struct api_options *options))
{
    static const char *const names[FIX_USERS][2] = {
        { "ada", "admin" }, { "olga", "operator" }, { "aude", "auditor" }, { "uwe", "user" },
        { "victor", "user" },
    };
    static const unsigned char seed[16] = "a seed for tests";
    AUTO(buf_deinit) struct buf error;
    struct store_where where;
    struct store_tx *tx;
    struct api_options options = { .cluster = "adit", .audit_key = test_audit_key(), .agent_join_addrs = { "127.0.0.1:7443" } };
    struct server_options server = { .name = "test", .listen = "127.0.0.1:0" };

    *f = (struct fix){ 0 };
    hash_seed(seed);
    log_init("test", 2, LOG_TEXT, LOG_ERROR);
    buf_init_heap(&error, 4096);
    snprintf(f->dir, sizeof(f->dir), "/tmp/adit-api-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    store_where(&where, f->dir)->now_ms = fix_clock;
    assert_int_equal(store_open(&where.options, &f->store, &error), 0);
    random_bytes(f->kek.bytes, sizeof(f->kek.bytes));
    assert_int_equal(keyring_load(f->store, "adit", &f->kek, &f->keys, &error), 0);
    assert_int_equal(store_begin(f->store, STORE_WRITE, &tx), 0);
    for (size_t i = 0; i < FIX_USERS; i++) {
        f->users[i].name = names[i][0];
        f->users[i].role = names[i][1];
        fix_user_make(f, tx, &f->users[i]);
    }
    assert_int_equal(store_commit(&tx, NULL), 0);
    options.store = f->store;
    options.keys = f->keys;
    options.kek = f->kek;
    memset(options.ca_pin, 'a', sizeof(options.ca_pin) - 1);
    if (tune)
        tune(f, &options);
    assert_int_equal(api_new(&options, &f->api), 0);
    server.routes = api_routes(f->api, &server.route_count);
    server.hooks = (struct server_hooks){ f->api, api_authenticate, api_replay };
    assert_int_equal(server_start(&server, &f->server, &error), 0);
}

static inline void fix_start(struct fix *f)
{
    fix_start_tuned(f, NULL);
}

static inline int fix_unlink(const char *path, const struct stat *s, int type, struct FTW *ftw)
{
    (void)s;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void fix_stop(struct fix *f)
{
    server_drain(f->server, 1000);
    server_free(f->server);
    api_free(f->api);
    keyring_free(f->keys);
    store_close(f->store);
    nftw(f->dir, fix_unlink, 8, FTW_DEPTH | FTW_PHYS);
}

static uint32_t fix_source;     /* an IPv4 address that it asks from; 0: as the system likes */

static inline int fix_connect(const struct fix *f)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(server_port(f->server)) };
    struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr = { htonl(fix_source) } };
    struct timeval wait = { .tv_sec = 20 };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fix_source)
        assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

/* `more`: further header lines, each with its line end; `body` NULL: none. */
static inline void fix_ask(const struct fix *f, const char *token, const char *method,
                           const char *path, const char *more, const char *body,
                           struct fix_answer *a)
{
    AUTO(fd_closep) int fd = fix_connect(f);
    char head[2048];
    size_t len = 0;
    ssize_t n;

    snprintf(head, sizeof(head),
             "%s /api/v1%s HTTP/1.1\r\nHost: test\r\nConnection: close\r\n%s%s%s%s"
             "Content-Length: %zu\r\n\r\n",
             method, path, token ? "Authorization: Bearer " : "", token ? token : "",
             token ? "\r\n" : "", more ? more : "", body ? strlen(body) : 0);
    assert_true(write(fd, head, strlen(head)) == (ssize_t)strlen(head));
    if (body)
        assert_true(write(fd, body, strlen(body)) == (ssize_t)strlen(body));
    while (len + 1 < sizeof(a->text)
           && (n = read(fd, a->text + len, sizeof(a->text) - 1 - len)) > 0)
        len += (size_t)n;
    a->text[len] = 0;
    assert_true(len > 12);
    a->status = (a->text[9] - '0') * 100 + (a->text[10] - '0') * 10 + (a->text[11] - '0');
    a->body = strstr(a->text, "\r\n\r\n");
    a->body = a->body ? a->body + 4 : "";
}

#define FIX_JSON "Content-Type: application/json\r\nIf-Match: *\r\n"
