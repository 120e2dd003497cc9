#include "dataplane/route/passwords.h"
#include "dataplane/route/route_internal.h"
#include "dataplane/sync/control.h"
#include "lib/crypto/random.h"
#include "lib/json/json.h"
#include "lib/log/log.h"
#include "lib/policy/chosen.h"
#include <errno.h>
#include <string.h>

#define BODY_MAX 8192

struct asking {                         /* one question, for all who wait for its answer */
    struct list node, waiters;
    struct router *router;
    unsigned char digest[SHA256_LEN];
};

int passwords_new(struct passwords **ret_passwords)
{
    struct passwords *p = calloc(1, sizeof(*p));

    if (!p)
        return -ENOMEM;
    pthread_mutex_init(&p->lock, NULL);
    random_bytes(p->key, sizeof(p->key));
    *ret_passwords = p;
    return 0;
}

void passwords_free(struct passwords *p)
{
    if (!p)
        return;
    pthread_mutex_destroy(&p->lock);
    secret_wipe(p, sizeof(*p));
    free(p);
}

void asks_deinit(struct asks *a)
{
    LIST_EACH(&a->list, node) {
        list_remove(node);
        free(container_of(node, struct asking, node));
    }
}

/* ---- what is remembered ---- */
static void digest_of(const struct passwords *p, const struct ulid *user, struct span which, struct span secret,
                      unsigned char ret_digest[SHA256_LEN])
{
    unsigned char inner[SHA256_LEN];
    const struct span parts[] = { ulid_span(user), SPAN("/"), which, SPAN("/"), secret };

    sha256_parts(parts, ARRAY_LEN(parts), inner);
    hmac_sha256(span_of(p->key, sizeof(p->key)), span_of(inner, sizeof(inner)), ret_digest);
    secret_wipe(inner, sizeof(inner));
}

static bool find(const struct passwords *p, const unsigned char digest[SHA256_LEN], uint64_t now_ms)
{
    const struct password_row *set = p->rows[digest[0] % PASSWORDS_SETS];

    for (size_t i = 0; i < PASSWORDS_WAYS; i++) {
        if (set[i].until_ms > now_ms && span_eq_secret(span_of(set[i].digest, SHA256_LEN), span_of(digest, SHA256_LEN)))
            return true;
    }
    return false;
}

bool passwords_know(struct passwords *p, const struct ulid *user, struct span which, struct span secret,
                    uint64_t now_ms)
{
    unsigned char digest[SHA256_LEN];
    bool is_known;

    digest_of(p, user, which, secret, digest);
    pthread_mutex_lock(&p->lock);
    is_known = find(p, digest, now_ms);
    pthread_mutex_unlock(&p->lock);
    return is_known;
}

static void keep(struct passwords *p, const unsigned char digest[SHA256_LEN], uint64_t now_ms)
{
    struct password_row *set = p->rows[digest[0] % PASSWORDS_SETS], *oldest = set;

    pthread_mutex_lock(&p->lock);
    for (size_t i = 1; i < PASSWORDS_WAYS; i++) {
        if (set[i].until_ms < oldest->until_ms)
            oldest = &set[i];
    }
    memcpy(oldest->digest, digest, SHA256_LEN);
    oldest->until_ms = now_ms + PASSWORDS_KEPT_MS;
    pthread_mutex_unlock(&p->lock);
}

void passwords_learn(struct passwords *p, const struct ulid *user, struct span which, struct span secret,
                     uint64_t now_ms)
{
    unsigned char digest[SHA256_LEN];

    digest_of(p, user, which, secret, digest);
    keep(p, digest, now_ms);
}

/* ---- asking ---- */
static enum reason reason_of(const struct control_answer *answer)
{
    AUTO(json_value_freep) struct json_value *body = NULL;
    struct json_error error;
    enum reason why;
    struct span text;

    if (answer->reason != REASON_NONE)
        return answer->reason;
    if (json_parse(answer->body, &body, &error) || !json_get_str(body, "reason", &text))
        return REASON_CONTROL_UNREACHABLE;
    why = reason_find(text);
    return why == REASON_COUNT ? REASON_CONTROL_UNREACHABLE : why;
}

static void answer_waiters(struct asking *a, enum reason why)
{
    while (!list_is_empty(&a->waiters)) {
        struct password_ask *ask = container_of(list_first(&a->waiters), struct password_ask, node);

        list_remove(&ask->node);
        ask->fn(ask->user, why);
    }
}

static void on_answer(void *user, const struct control_answer *answer)
{
    struct asking *a = user;
    struct router *router = a->router;
    enum reason why = reason_of(answer);

    if (why == REASON_NONE)
        keep(router->config.passwords, a->digest, mono_ms());
    metric_add_at(router->config.metrics, M_PASSWORD_ASKS, why, 0, 1);
    list_remove(&a->node);
    router->asks.count--;
    answer_waiters(a, why);
    free(a);
}

static struct asking *find_asking(struct asks *asks, const unsigned char digest[SHA256_LEN])
{
    LIST_EACH(&asks->list, node) {
        struct asking *a = container_of(node, struct asking, node);

        if (span_eq_secret(span_of(a->digest, SHA256_LEN), span_of(digest, SHA256_LEN)))
            return a;
    }
    return NULL;
}

static int send(struct asking *a, const struct ulid *user, struct span secret, const struct addr *source)
{
    char from[ADDR_TEXT_MAX], mem[BODY_MAX];
    struct json_writer w;
    struct buf body;
    int r;

    buf_init_fixed(&body, mem, sizeof(mem));
    json_begin(&w, &body);
    json_open_object(&w, NULL);
    json_put_str(&w, "user", ulid_span(user));
    json_put_str(&w, "password", secret);
    json_put_text(&w, "source", addr_format(source, from));
    json_close_object(&w);
    r = buf_error(&body);
    if (!r)
        r = control_ask(a->router->config.control, "/internal/v1/password", buf_span(&body),
                        a->router->config.loop, on_answer, a);
    secret_wipe(mem, sizeof(mem));
    return r;
}

static struct asking *begin(struct router *router, const struct ulid *user, struct span secret,
                            const struct addr *source, const unsigned char digest[SHA256_LEN])
{
    struct asking *a;

    if (router->asks.count >= PASSWORDS_ASKS_MAX)
        return NULL;
    a = calloc(1, sizeof(*a));
    if (!a)
        return NULL;
    a->router = router;
    memcpy(a->digest, digest, SHA256_LEN);
    list_init(&a->waiters);
    if (send(a, user, secret, source)) {
        free(a);
        return NULL;
    }
    list_append(&router->asks.list, &a->node);
    router->asks.count++;
    return a;
}

enum reason router_password_ask(struct router *router, struct span user_name, struct span secret,
                                const struct addr *source, struct password_ask *ask)
{
    unsigned char digest[SHA256_LEN];
    const struct user_record *user;
    struct asking *a;
    struct span which;
    struct ulid id;

    if (!router->config.control || !router->config.passwords || !router->view || !secret.n ||
        !chosen_user(router->view->policy, user_name, &user, &which) || !ulid_parse(record_id(&user->record), &id))
        return REASON_AUTH_FAILED;
    digest_of(router->config.passwords, &id, which, secret, digest);
    a = find_asking(&router->asks, digest);
    if (!a)
        a = begin(router, &id, secret, source, digest);
    if (!a) {
        metric_add_at(router->config.metrics, M_PASSWORD_ASKS, REASON_OVERLOAD, 0, 1);
        return REASON_OVERLOAD;
    }
    list_append(&a->waiters, &ask->node);
    return REASON_NONE;
}

void router_password_forget(struct password_ask *ask)
{
    if (ask->node.next)
        list_remove(&ask->node);
}
