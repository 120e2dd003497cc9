#include "controlplane/oidc/oidc_internal.h"
#include "lib/crypto/digest.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define IDLE_MS 60000
#define BUSY_MS 250

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode global_status;

static void init_library(void)
{
    global_status = curl_global_init(CURL_GLOBAL_DEFAULT);
}

uint64_t oidc_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- providers that are known ---- */
static void known_free(struct oidc *o, struct known *k)
{
    list_remove(&k->node);
    o->known_count--;
    jwks_free(k->keys);
    free(k->issuer);
    free(k->ca_pem);
    free(k);
}

/* Those whose settings changed, and when there are too many the one not used for longest. */
static void forget_some(struct oidc *o)
{
    struct known *oldest = NULL;

    LIST_EACH(&o->known, node) {
        struct known *k = container_of(node, struct known, node);

        if (k->users)
            continue;
        if (!k->id.text[0])
            known_free(o, k);
        else if (!oldest || k->used_ms < oldest->used_ms)
            oldest = k;
    }
    if (oldest && o->known_count >= OIDC_PROVIDERS_MAX)
        known_free(o, oldest);
}

static struct known *find_known(struct oidc *o, const struct oidc_ask *ask)
{
    LIST_EACH(&o->known, node) {
        struct known *k = container_of(node, struct known, node);

        if (!span_eq(ulid_span(&k->id), ulid_span(&ask->provider)))
            continue;
        if (k->version >= ask->version)         /* who read before a change takes what counts now */
            return k;
        k->id = (struct ulid){ .text = "" };    /* found no more; goes when nobody uses it */
    }
    return NULL;
}

static struct known *know(struct oidc *o, const struct oidc_ask *ask)
{
    struct known *k = find_known(o, ask);

    if (k)
        return k;
    forget_some(o);
    k = o->known_count < OIDC_PROVIDERS_MAX ? calloc(1, sizeof(*k)) : NULL;
    if (!k)
        return NULL;
    list_append(&o->known, &k->node);
    o->known_count++;
    k->id = ask->provider;
    k->version = ask->version;
    k->issuer = strdup(ask->issuer);
    k->ca_pem = strdup(ask->ca_pem);
    if (k->issuer && k->ca_pem)
        return k;
    known_free(o, k);
    return NULL;
}

/* ---- asks ---- */
static void free_secret(char *text)
{
    if (text)
        secret_wipe(text, strlen(text));
    free(text);
}

static void asked_free(struct oidc *o, struct asked *a)
{
    if (a->fetch)
        a->fetch->asked = NULL;
    list_remove(&a->node);
    o->ask_count--;
    a->known->users--;
    free(a->client_id);
    free_secret(a->client_secret);
    free(a->redirect_uri);
    free_secret(a->code);
    free_secret(a->verifier);
    free(a->nonce);
    free(a->code_issuer);
    free_secret(a->id_token);
    free_secret(a->access_token);
    json_value_free(a->answer.claims);
    free(a);
}

static bool copy(const char *from, char **to)
{
    *to = from ? strdup(from) : NULL;
    return !from || *to;
}

static bool copy_ask(const struct oidc_ask *from, struct asked *a)
{
    a->algs = from->algs;
    return copy(from->client_id, &a->client_id) && copy(from->client_secret, &a->client_secret) &&
           copy(from->redirect_uri, &a->redirect_uri) && copy(from->code, &a->code) &&
           copy(from->verifier, &a->verifier) && copy(from->nonce, &a->nonce) &&
           copy(from->code_issuer, &a->code_issuer);
}

static unsigned count_of(const struct oidc *o, const struct ulid *provider)
{
    unsigned count = 0;

    LIST_EACH(&o->asks, node) {
        const struct asked *a = container_of(node, struct asked, node);

        count += a->step != STEP_DONE && span_eq(ulid_span(&a->known->id), ulid_span(provider));
    }
    return count;
}

static struct asked *find_ask(const struct oidc *o, const char *key)
{
    LIST_EACH(&o->asks, node) {
        struct asked *a = container_of(node, struct asked, node);

        if (strcmp(a->key, key) == 0)
            return a;
    }
    return NULL;
}

static int add_ask(struct oidc *o, const char *key, const struct oidc_ask *ask)
{
    struct known *k;
    struct asked *a;

    if (find_ask(o, key))
        return OIDC_E_EXISTS;
    if (o->ask_count >= o->options.asks_max || count_of(o, &ask->provider) >= (o->options.asks_max + 3) / 4)
        return OIDC_E_FULL;
    k = know(o, ask);
    if (!k)
        return OIDC_E_FULL;
    a = calloc(1, sizeof(*a));
    if (!a)
        return -ENOMEM;
    snprintf(a->key, sizeof(a->key), "%s", key);
    a->known = k;
    a->end_ms = oidc_now_ms() + OIDC_ASK_MS;
    k->users++;
    k->used_ms = oidc_now_ms();
    list_append(&o->asks, &a->node);
    o->ask_count++;
    if (!copy_ask(ask, a)) {
        asked_free(o, a);
        return -ENOMEM;
    }
    o->stats.asks++;
    asked_go_on(o, a);
    return 0;
}

int oidc_begin(struct oidc *o, const char *key, const struct oidc_ask *ask)
{
    int r;

    pthread_mutex_lock(&o->lock);
    r = add_ask(o, key, ask);
    pthread_mutex_unlock(&o->lock);
    curl_multi_wakeup(o->multi);
    return r;
}

bool oidc_take(struct oidc *o, const char *key, struct oidc_answer *ret_answer)
{
    struct asked *a;

    pthread_mutex_lock(&o->lock);
    a = find_ask(o, key);
    if (a) {
        *ret_answer = a->answer;
        if (a->answer.is_done) {
            a->answer.claims = NULL;
            asked_free(o, a);
        }
    }
    pthread_mutex_unlock(&o->lock);
    return a != NULL;
}

void oidc_cancel(struct oidc *o, const char *key)
{
    struct asked *a;

    pthread_mutex_lock(&o->lock);
    a = find_ask(o, key);
    if (a)
        asked_free(o, a);
    pthread_mutex_unlock(&o->lock);
}

void oidc_get_stats(struct oidc *o, struct oidc_stats *ret_stats)
{
    pthread_mutex_lock(&o->lock);
    *ret_stats = o->stats;
    ret_stats->running = o->ask_count;
    pthread_mutex_unlock(&o->lock);
}

/* ---- the thread ---- */
static const char *error_of(const struct fetch *f, CURLcode code)
{
    if (code == CURLE_FILESIZE_EXCEEDED)
        return "the answer is too large";
    if (!code)
        return NULL;
    return f->error[0] ? f->error : curl_easy_strerror(code);
}

static void collect(struct oidc *o)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(o->multi, &left))) {
        CURLcode code = message->data.result;
        struct fetch *f = NULL;
        long status = 0;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &f);
        curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &status);
        fetch_ended(o, f, error_of(f, code), status);
    }
}

static void expire(struct oidc *o)
{
    uint64_t now_ms = oidc_now_ms();

    LIST_EACH(&o->asks, node) {
        struct asked *a = container_of(node, struct asked, node);

        if (a->end_ms > now_ms)
            continue;
        if (a->step == STEP_DONE)
            asked_free(o, a);
        else
            asked_fail(o, a, REASON_IDENTITY_PROVIDER_UNAVAILABLE, "the provider takes too long");
    }
}

static void tell(struct oidc *o)
{
    if (!o->has_answers)
        return;
    o->has_answers = false;
    pthread_mutex_unlock(&o->lock);
    if (o->options.done)
        o->options.done(o->options.ctx);
    pthread_mutex_lock(&o->lock);
}

static void *run(void *arg)
{
    struct oidc *o = arg;
    int running, wait_ms;

    pthread_mutex_lock(&o->lock);
    while (!o->is_stopping) {
        fetch_start_all(o);
        curl_multi_perform(o->multi, &running);
        collect(o);
        expire(o);
        tell(o);
        wait_ms = list_is_empty(&o->asks) && list_is_empty(&o->fetches) ? IDLE_MS : BUSY_MS;
        pthread_mutex_unlock(&o->lock);
        curl_multi_poll(o->multi, NULL, 0, wait_ms, NULL);
        pthread_mutex_lock(&o->lock);
    }
    pthread_mutex_unlock(&o->lock);
    return NULL;
}

int oidc_new(const struct oidc_options *options, struct oidc **ret_oidc)
{
    AUTO(oidc_freep) struct oidc *o = NULL;
    int r;

    pthread_once(&once, init_library);
    o = global_status ? NULL : calloc(1, sizeof(*o));
    if (!o)
        return -ENOMEM;
    o->options = *options;
    o->options.asks_max = options->asks_max ? options->asks_max : 64;
    o->options.timeout_ms = options->timeout_ms ? options->timeout_ms : 10000;
    o->options.pause_ms = options->pause_ms ? options->pause_ms : 10000;
    o->options.fresh_ms = options->fresh_ms ? options->fresh_ms : 3600000;
    pthread_mutex_init(&o->lock, NULL);
    list_init(&o->known);
    list_init(&o->asks);
    list_init(&o->fetches);
    o->multi = curl_multi_init();
    if (!o->multi)
        return -ENOMEM;
    r = pthread_create(&o->thread, NULL, run, o);
    if (r)
        return -r;
    o->has_thread = true;
    *ret_oidc = TAKE(o);
    return 0;
}

static void stop(struct oidc *o)
{
    pthread_mutex_lock(&o->lock);
    o->is_stopping = true;
    pthread_mutex_unlock(&o->lock);
    curl_multi_wakeup(o->multi);
    pthread_join(o->thread, NULL);
}

void oidc_free(struct oidc *o)
{
    if (!o)
        return;
    if (o->has_thread)
        stop(o);
    while (!list_is_empty(&o->asks))
        asked_free(o, container_of(list_first(&o->asks), struct asked, node));
    while (!list_is_empty(&o->fetches))
        fetch_free(o, container_of(list_first(&o->fetches), struct fetch, node));
    while (!list_is_empty(&o->known))
        known_free(o, container_of(list_first(&o->known), struct known, node));
    curl_multi_cleanup(o->multi);
    pthread_mutex_destroy(&o->lock);
    free(o);
}
