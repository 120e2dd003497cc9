#include "dataplane/route/roster.h"
#include "lib/json/json.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>

struct bell {
    struct loop *loop;
    void (*fn)(void *arg);
    void *arg;
    struct router *router;
    atomic_bool is_rung;            /* posted and not yet heard */
};

struct roster {
    pthread_mutex_t lock;           /* guards `agents`, `gone` and what seats say of them */
    struct pmap agents;             /* id → struct seat */
    struct map gone;                /* likewise, those that may come back; the oldest first in the list */
    struct list gone_order;
    _Atomic uint64_t version;       /* another one for each change of `agents` */
    size_t agents_max;
    unsigned workers;
    uint32_t proof_rest_ms;
    _Atomic uint64_t proof_changes;
    struct bell bells[];
};

/* --- seats ----------------------------------------------------------------------------------- */

struct seat *seat_ref(struct seat *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void seat_unref(struct seat *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    secret_wipe(s->sessions, sizeof(s->sessions));
    free(s);
}

static void on_value_ref(void *value)
{
    seat_ref(value);
}

static void on_value_unref(void *value)
{
    seat_unref(value);
}

static const struct pmap_values seats = { .ref = on_value_ref, .unref = on_value_unref };

static struct seat *seat_new(const struct roster *r, const struct ulid *id, const struct tunnel_hello *hello)
{
    struct seat *s = calloc(1, sizeof(*s) + r->workers * sizeof(s->berths[0]));

    if (!s)
        return NULL;
    atomic_init(&s->refs, 1);
    list_init(&s->gone);
    s->id = *id;
    memcpy(s->boot_id, hello->boot_id, sizeof(s->boot_id));
    memcpy(s->name, hello->name, sizeof(s->name));
    s->starts = hello->starts;
    s->berth_count = r->workers;
    return s;
}

void seat_renew(struct seat *s, const struct identity *who)
{
    int64_t before = atomic_load(&s->not_after_s);

    atomic_store(&s->generation, who->generation);
    while (who->not_after_s > before &&
           !atomic_compare_exchange_weak(&s->not_after_s, &before, who->not_after_s))
        ;
}

static void remember_session(struct seat *s, const struct tunnel_session *session)
{
    for (size_t i = 0; i < s->session_count; i++) {
        if (span_eq(ulid_span(&s->sessions[i].id), ulid_span(&session->id)))
            return;
    }
    if (s->session_count == ROSTER_SESSIONS_MAX) {
        memmove(&s->sessions[0], &s->sessions[1], sizeof(s->sessions) - sizeof(s->sessions[0]));
        s->session_count--;
    }
    s->sessions[s->session_count++] = *session;
}

/* --- processes that may come back -------------------------------------------------------------- */

static struct seat *gone_find(const struct roster *r, const struct ulid *agent)
{
    struct map_node *node = map_find(&r->gone, ulid_span(agent));

    return node ? container_of(node, struct seat, gone_node) : NULL;
}

static void gone_remove(struct roster *r, struct seat *s)
{
    map_remove(&r->gone, &s->gone_node);
    list_remove(&s->gone);
    seat_unref(s);
}

static void gone_forget(struct roster *r, uint64_t now_ms)
{
    LIST_EACH(&r->gone_order, node) {
        struct seat *s = container_of(node, struct seat, gone);

        if (now_ms < s->gone_ms + ROSTER_GONE_MS)
            return;
        gone_remove(r, s);
    }
}

/* Without memory it is forgotten: its certificate proves it, too. */
static void gone_add(struct roster *r, struct seat *s)
{
    struct list *oldest = list_first(&r->gone_order);

    if (oldest && r->gone.count == r->gone.cap)
        gone_remove(r, container_of(oldest, struct seat, gone));
    if (map_insert(&r->gone, &s->gone_node, ulid_span(&s->id)))
        return;
    s->gone_ms = mono_ms();
    list_append(&r->gone_order, &seat_ref(s)->gone);
}

/* The same process knows its sessions still; any other has none. */
static void gone_come_back(struct roster *r, struct seat *s)
{
    struct seat *was = gone_find(r, &s->id);

    if (!was)
        return;
    for (size_t i = 0; i < was->session_count && strcmp(was->boot_id, s->boot_id) == 0; i++)
        remember_session(s, &was->sessions[i]);
    gone_remove(r, was);
}

void roster_forget(struct roster *r, uint64_t now_ms)
{
    pthread_mutex_lock(&r->lock);
    gone_forget(r, now_ms);
    pthread_mutex_unlock(&r->lock);
}

/* --- links that come and go ------------------------------------------------------------------- */

/* The process that has the seat, against the one that comes. */
static enum hello_order order(const struct seat *s, const struct tunnel_hello *hello)
{
    return hello_order(span_str(s->boot_id), s->starts, span_str(hello->boot_id), hello->starts);
}

/* A new seat in the place of `old`, if there is one. */
static enum reason take_seat(struct roster *r, const struct ulid *id, const struct tunnel_hello *hello,
                             struct seat *old, struct seat **ret_seat)
{
    AUTO(seat_unrefp) struct seat *s = NULL;

    if (!old && r->agents.count >= r->agents_max)
        return REASON_OVERLOAD;
    s = seat_new(r, id, hello);
    if (!s || pmap_set(&r->agents, ulid_span(&s->id), s))
        return REASON_OVERLOAD;
    if (old)
        atomic_store(&old->is_replaced, true);
    gone_come_back(r, s);
    atomic_fetch_add(&r->version, 1);
    *ret_seat = s;                  /* the map has a reference */
    return REASON_NONE;
}

static enum reason find_seat(struct roster *r, const struct ulid *id, const struct tunnel_hello *hello,
                             bool *ret_was_replaced, struct seat **ret_seat)
{
    struct seat *s = pmap_get(&r->agents, ulid_span(id));
    enum hello_order how = s && s->link_count ? order(s, hello) : HELLO_NEWER;
    enum reason why;

    if (how == HELLO_OLDER)
        return REASON_REPLACED;
    if (how == HELLO_SAME) {
        *ret_seat = s;
        return s->link_count < ROSTER_LINKS_MAX ? REASON_NONE : REASON_OVERLOAD;
    }
    why = take_seat(r, id, hello, s, ret_seat);
    *ret_was_replaced = why == REASON_NONE && s && s->link_count;
    return why;
}

enum reason roster_enter(struct roster *r, unsigned worker, const struct identity *who,
                         const struct tunnel_hello *hello, const struct tunnel_session *session,
                         bool *ret_was_replaced, struct seat **ret_seat)
{
    struct seat *s = NULL;
    enum reason why;

    *ret_was_replaced = false;
    pthread_mutex_lock(&r->lock);
    why = find_seat(r, &who->id, hello, ret_was_replaced, &s);
    if (why == REASON_NONE) {
        s->link_count++;
        seat_renew(s, who);
        atomic_fetch_add(&s->berths[worker].links, 1);
        remember_session(s, session);
        *ret_seat = seat_ref(s);
    }
    pthread_mutex_unlock(&r->lock);
    if (*ret_was_replaced)
        roster_ring(r, worker);
    return why;
}

bool roster_leave(struct roster *r, unsigned worker, struct seat *s, bool for_good)
{
    bool has_left;

    pthread_mutex_lock(&r->lock);
    atomic_fetch_sub(&s->berths[worker].links, 1);
    has_left = --s->link_count == 0 && !seat_is_replaced(s);
    /* Without memory the seat stays, empty; whoever comes next takes its place. */
    if (has_left && pmap_unset(&r->agents, ulid_span(&s->id)) == 0) {
        atomic_fetch_add(&r->version, 1);
        if (!for_good)
            gone_add(r, s);
    }
    atomic_store(&s->has_left, has_left && for_good);
    pthread_mutex_unlock(&r->lock);
    return has_left;
}

bool roster_session(struct roster *r, const struct ulid *agent, const struct ulid *session,
                    struct tunnel_session *ret_session, struct seat **ret_seat)
{
    struct seat *s;
    bool is_known = false;

    pthread_mutex_lock(&r->lock);
    s = pmap_get(&r->agents, ulid_span(agent));
    if (!s)
        s = gone_find(r, agent);
    for (size_t i = 0; s && i < s->session_count && !is_known; i++) {
        if (!span_eq(ulid_span(&s->sessions[i].id), ulid_span(session)))
            continue;
        *ret_session = s->sessions[i];
        *ret_seat = seat_ref(s);
        is_known = true;
    }
    pthread_mutex_unlock(&r->lock);
    return is_known;
}

bool roster_has_streams(struct roster *r, const struct ulid *agent, const char *boot_id)
{
    uint64_t streams = 0;
    struct seat *s;

    pthread_mutex_lock(&r->lock);
    s = pmap_get(&r->agents, ulid_span(agent));
    if (!s)
        s = gone_find(r, agent);
    for (unsigned i = 0; s && i < s->berth_count && strcmp(s->boot_id, boot_id) == 0; i++)
        streams += atomic_load(&s->berths[i].streams);
    pthread_mutex_unlock(&r->lock);
    return streams > 0;
}

void roster_tell_left(struct roster *r, unsigned worker, struct seat *seat, const char *session)
{
    pthread_mutex_lock(&r->lock);
    (void)ulid_parse(span_str(session), &seat->left[seat->left_count % ROSTER_LEFT_MAX]);
    atomic_fetch_add(&seat->left_count, 1);
    pthread_mutex_unlock(&r->lock);
    roster_ring(r, worker);
}

size_t roster_left(struct roster *r, const struct seat *seat, struct ulid ret_sessions[ROSTER_LEFT_MAX])
{
    size_t count;

    pthread_mutex_lock(&r->lock);
    count = seat->left_count < ROSTER_LEFT_MAX ? seat->left_count : ROSTER_LEFT_MAX;
    memcpy(ret_sessions, seat->left, count * sizeof(seat->left[0]));
    pthread_mutex_unlock(&r->lock);
    return count;
}

/* --- bells ------------------------------------------------------------------------------------ */

void roster_set_bell(struct roster *r, unsigned worker, struct loop *loop, void (*fn)(void *arg), void *arg)
{
    r->bells[worker].loop = loop;
    r->bells[worker].fn = fn;
    r->bells[worker].arg = arg;
}

void roster_set_router(struct roster *r, unsigned worker, struct router *router)
{
    r->bells[worker].router = router;
}

struct router *roster_router(const struct roster *r, unsigned worker)
{
    return r->bells[worker].router;
}

/* Before fn looks, so that what changes while it looks rings again. */
static void on_rung(void *arg)
{
    struct bell *b = arg;

    atomic_store(&b->is_rung, false);
    b->fn(b->arg);
}

void roster_ring(struct roster *r, unsigned worker)
{
    for (unsigned i = 0; i < r->workers; i++) {
        struct bell *b = &r->bells[i];

        if (i == worker || !b->loop || atomic_exchange(&b->is_rung, true))
            continue;
        if (loop_post(b->loop, on_rung, b))
            atomic_store(&b->is_rung, false);
    }
}

/* --- reading ---------------------------------------------------------------------------------- */

void roster_reader_init(struct roster_reader *reader, struct roster *r)
{
    *reader = (struct roster_reader){ .roster = r };
    pmap_init(&reader->agents, &seats);
}

void roster_reader_deinit(struct roster_reader *reader)
{
    pmap_deinit(&reader->agents);
}

static struct pmap share(struct roster *r, uint64_t *ret_version)
{
    struct pmap agents;

    pthread_mutex_lock(&r->lock);
    agents = pmap_share(&r->agents);
    *ret_version = atomic_load(&r->version);
    pthread_mutex_unlock(&r->lock);
    return agents;
}

struct seat *roster_find(struct roster_reader *reader, const struct ulid *agent)
{
    if (atomic_load(&reader->roster->version) != reader->version) {
        pmap_deinit(&reader->agents);
        reader->agents = share(reader->roster, &reader->version);
    }
    return pmap_get(&reader->agents, ulid_span(agent));
}

/* --- proof ------------------------------------------------------------------------------------ */

void roster_set_proof_rest(struct roster *r, uint32_t ms)
{
    r->proof_rest_ms = ms;
}

bool roster_is_recent(const struct roster *r, uint64_t proved_ms, uint64_t now_ms)
{
    return proved_ms && (proved_ms >= now_ms || now_ms - proved_ms < r->proof_rest_ms);
}

void roster_tell_proof(struct roster *r)
{
    atomic_fetch_add(&r->proof_changes, 1);
}

uint64_t roster_proof_changes(const struct roster *r)
{
    return atomic_load(&r->proof_changes);
}

/* 0: one of its links is proved, or none of them had the time for it. */
static uint64_t unproved_since(const struct roster *r, const struct seat *s, uint64_t now_ms)
{
    uint64_t since_ms = 0;

    for (unsigned i = 0; i < s->berth_count; i++) {
        uint64_t proved_ms = atomic_load(&s->berths[i].proved_ms), doubted_ms = atomic_load(&s->berths[i].doubted_ms);

        if (roster_is_recent(r, proved_ms, now_ms))
            return 0;
        if (!doubted_ms)
            doubted_ms = proved_ms;
        if (doubted_ms > since_ms)
            since_ms = doubted_ms;
    }
    return since_ms;
}

/* --- telling ---------------------------------------------------------------------------------- */

static void write_seat(struct json_writer *w, const struct roster *r, const struct seat *s, uint64_t now_ms)
{
    uint64_t since_ms = unproved_since(r, s, now_ms);
    uint32_t streams = 0, rtt_us = 0, links = 0;

    for (unsigned i = 0; i < s->berth_count; i++) {
        uint32_t rtt = atomic_load(&s->berths[i].rtt_us);

        links += atomic_load(&s->berths[i].links);
        streams += atomic_load(&s->berths[i].streams);
        if (rtt && (!rtt_us || rtt < rtt_us))
            rtt_us = rtt;
    }
    json_open_object(w, NULL);
    json_put_str(w, "id", ulid_span(&s->id));
    json_put_int(w, "rtt_us", rtt_us);
    json_put_int(w, "streams", streams);
    if (links > 1)
        json_put_int(w, "links", links);
    if (since_ms)
        json_put_int(w, "unproved_ms", now_ms > since_ms ? (int64_t)(now_ms - since_ms) : 0);
    json_close_object(w);
}

void roster_write_agents(struct roster *r, uint64_t now_ms, struct buf *out)
{
    struct pmap_cursor cursor = { 0 };
    struct json_writer w;
    uint64_t version;
    struct pmap agents = share(r, &version);
    struct span key;
    void *value;

    json_begin(&w, out);
    json_open_array(&w, NULL);
    while (pmap_next(&agents, &cursor, &key, &value))
        write_seat(&w, r, value, now_ms);
    json_close_array(&w);
    pmap_deinit(&agents);
}

size_t roster_unproved_count(struct roster *r, uint64_t now_ms)
{
    struct pmap_cursor cursor = { 0 };
    uint64_t version;
    struct pmap agents = share(r, &version);
    struct span key;
    void *value;
    size_t count = 0;

    while (pmap_next(&agents, &cursor, &key, &value))
        count += unproved_since(r, value, now_ms) > 0;
    pmap_deinit(&agents);
    return count;
}

size_t roster_count(struct roster *r)
{
    size_t count;

    pthread_mutex_lock(&r->lock);
    count = r->agents.count;
    pthread_mutex_unlock(&r->lock);
    return count;
}

size_t roster_gone_count(struct roster *r)
{
    size_t count;

    pthread_mutex_lock(&r->lock);
    count = r->gone.count;
    pthread_mutex_unlock(&r->lock);
    return count;
}

unsigned roster_workers(const struct roster *r)
{
    return r->workers;
}

/* --- making it -------------------------------------------------------------------------------- */

int roster_new(unsigned workers, size_t agents_max, struct roster **ret_roster)
{
    struct roster *r = calloc(1, sizeof(*r) + workers * sizeof(r->bells[0]));

    if (!r)
        return -ENOMEM;
    pthread_mutex_init(&r->lock, NULL);
    pmap_init(&r->agents, &seats);
    map_init(&r->gone, agents_max);
    list_init(&r->gone_order);
    r->agents_max = agents_max;
    r->workers = workers;
    r->proof_rest_ms = ROSTER_PROOF_REST_MS;
    *ret_roster = r;
    return 0;
}

void roster_free(struct roster *r)
{
    gone_forget(r, UINT64_MAX);
    map_deinit(&r->gone);
    pmap_deinit(&r->agents);
    pthread_mutex_destroy(&r->lock);
    free(r);
}
