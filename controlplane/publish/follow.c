#include "controlplane/publish/publish_internal.h"
#include "lib/log/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/*
 * Several control planes on one database: one leads, and publishes; the others take over what it
 * published, serve it to their relays, and lead when it is gone.  The head is the leader's alone,
 * so that its age tells relays how long nobody has led.  A snapshot says nothing that the chain of
 * deltas has not said: each signs its own.
 */
#define FOLLOW_MAX 64           /* publications taken over at a time; beyond, all is read anew */
#define HEAD_KEY "state.head"   /* "<beat> <epoch> <revision>\n", then the head */
#define TERM_KEY "leader.term"

/* ---- reading all ---- */

/* Newest first: older ones are put before, as long as they hang together. */
static int take_publication(void *ctx, const struct store_publication *row)
{
    struct publisher *p = ctx;
    struct list *first = list_first(&p->deltas.deltas);

    if (!p->at.revision) {
        p->at = (struct state_position){ .epoch = row->epoch, .revision = row->revision };
        memcpy(p->at.digest, row->digest, sizeof(p->at.digest));
    } else if (row->epoch != p->at.epoch || !first ||
               container_of(first, struct delta, node)->after != row->revision) {
        return 1;
    }
    if (!row->document.n || !publish_is_known(p, row->document))
        return 1;
    if (p->deltas.bytes + row->document.n > PUBLISH_BYTES_MAX)
        return 1;
    return deltas_prepend(&p->deltas, row->epoch, row->revision, row->after, row->document);
}

static int load_policy(struct publisher *p, struct store_tx *tx)
{
    AUTO(batch_deinit) struct batch b;
    AUTO(policy_unrefp) struct policy *empty = policy_new();
    int r;

    batch_init(&b, true);
    if (!empty)
        return -ENOMEM;
    r = store_state_each(tx, batch_add, &b);
    return r ? r : batch_apply(&b, empty, &p->policy);
}

static int load(struct publisher *p, struct store_tx *tx)
{
    struct store_position position;
    int r;

    r = store_position(tx, &position);
    if (!r)
        r = store_publications(tx, PUBLISH_DELTAS_MAX, take_publication, p);
    if (r < 0 || r > 1)
        return r;
    if (!p->at.revision)
        p->at.epoch = position.epoch;
    if (position.epoch < p->at.epoch ||
        (position.epoch == p->at.epoch && position.revision < p->at.revision)) {
        snprintf(p->trouble_text, sizeof(p->trouble_text), "the database is older than what was "
                 "published; after a restore, raise the epoch");
        return -EUCLEAN;
    }
    return load_policy(p, tx);
}

/* ---- the leader's head ---- */

static int64_t monotonic_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool next_number(struct span *line, uint64_t *ret_number)
{
    struct span word;

    return span_cut(line, ' ', &word) && span_to_u64(word, INT64_MAX, ret_number);
}

/* Into p->next, from the same moment as the publications that are read with it. */
static int read_head(struct publisher *p, struct store_tx *tx)
{
    AUTO(buf_deinit) struct buf value;
    struct next_head *next = &p->next;
    struct span rest, line;
    int r;

    buf_init_heap(&value, 8192);
    r = store_meta_get(tx, HEAD_KEY, &value);
    if (r)
        return r == STORE_E_NOT_FOUND ? 0 : r;
    rest = buf_span(&value);
    if (!span_cut(&rest, '\n', &line) || !next_number(&line, &next->beat) ||
        !next_number(&line, &next->of.epoch) || !next_number(&line, &next->of.revision) ||
        rest.n > sizeof(next->text))
        return -EUCLEAN;
    memcpy(next->text, rest.p, rest.n);
    next->len = rest.n;
    return 0;
}

/* With the lock held: head and position change together. */
static void put_head(struct publisher *p)
{
    struct next_head *next = &p->next;

    if (!next->len || next->beat <= p->beat || !publish_is_at(p, &next->of))
        return;
    p->headed_ms = monotonic_ms();
    p->beat = next->beat;
    buf_clear(&p->head);
    buf_put(&p->head, next->text, next->len);
}

/* ---- taking over what others published ---- */

struct news {
    const struct publisher *p;
    struct chain_of_deltas deltas;
    struct state_position newest;
    bool is_linked;             /* the deltas lead on from where the publisher is */
};

static void news_deinit(struct news *n)
{
    deltas_clear(&n->deltas);
}

static int take_newest(void *ctx, const struct store_publication *row)
{
    struct state_position *newest = ctx;

    *newest = (struct state_position){ .epoch = row->epoch, .revision = row->revision };
    memcpy(newest->digest, row->digest, sizeof(newest->digest));
    return 0;
}

/* Newest first, until where the publisher is. */
static int take_newer(void *ctx, const struct store_publication *row)
{
    struct news *n = ctx;
    const struct state_position *at = &n->p->at;

    if (row->epoch != at->epoch || row->revision <= at->revision || !row->document.n)
        return 1;
    n->is_linked = row->after == at->revision;
    return deltas_prepend(&n->deltas, row->epoch, row->revision, row->after, row->document);
}

/* With the lock held. */
static int append_news(struct publisher *p, struct news *n)
{
    int r = 0;

    LIST_EACH(&n->deltas.deltas, node) {
        const struct delta *d = container_of(node, struct delta, node);

        r = r ? r : deltas_append(&p->deltas, d->epoch, d->revision, d->after, span_of(d->document, d->len));
    }
    return r;
}

static int apply_changes(struct publisher *p, struct store_tx *tx, struct policy **ret_policy)
{
    AUTO(batch_deinit) struct batch b;
    int r;

    batch_init(&b, false);
    r = store_state_changes(tx, p->at.revision, batch_add, &b);
    return r ? r : batch_apply(&b, p->policy, ret_policy);
}

static int go_on(struct publisher *p, struct store_tx *tx, struct news *n)
{
    AUTO(policy_unrefp) struct policy *policy = NULL;
    struct policy *old = p->policy;
    int r;

    r = apply_changes(p, tx, &policy);
    if (r)
        return r;
    pthread_mutex_lock(&p->lock);
    r = append_news(p, n);
    p->policy = policy;
    p->at = n->newest;
    p->has_reach = false;
    put_head(p);
    pthread_mutex_unlock(&p->lock);
    policy = old;
    return r;
}

static int sign_snapshot(struct publisher *p, struct store_tx *tx, struct buf *out)
{
    buf_init_heap(out, DOCUMENT_SIZE_MAX);
    return publish_snapshot(p, tx, &p->at, out);
}

static int take_snapshot(struct publisher *p, struct store_tx *tx)
{
    AUTO(buf_deinit) struct buf text;
    int r = sign_snapshot(p, tx, &text);

    if (r)
        return r;
    pthread_mutex_lock(&p->lock);
    snapshot_put(p, &text, &p->at);
    pthread_mutex_unlock(&p->lock);
    return 0;
}

/* With the lock held: a relay gets the new epoch with its snapshot or not at all.  What nobody has
 * published yet must not be in one. */
static int load_anew(struct publisher *p, struct store_tx *tx)
{
    AUTO(buf_deinit) struct buf text = { 0 };
    struct store_position position = { 0 };
    int r;

    r = load(p, tx);
    if (!r)
        r = store_position(tx, &position);
    if (r || !publish_is_at(p, &position))
        return r;
    r = sign_snapshot(p, tx, &text);
    if (!r)
        snapshot_put(p, &text, &p->at);
    return r;
}

/* Another epoch, or too far behind. */
static int read_anew(struct publisher *p, struct store_tx *tx)
{
    int r;

    pthread_mutex_lock(&p->lock);
    deltas_clear(&p->deltas);
    buf_clear(&p->snapshot);
    p->at = p->snapshot_at = STATE_POSITION_NONE;
    p->has_reach = false;
    policy_unref(TAKE(p->policy));
    r = load_anew(p, tx);
    if (r && !p->policy)
        p->policy = policy_new();
    if (r)
        p->at = STATE_POSITION_NONE;
    put_head(p);
    pthread_mutex_unlock(&p->lock);
    return r;
}

int publish_adopt(struct publisher *p, struct store_tx *tx, bool *ret_is_news)
{
    AUTO(news_deinit) struct news n = { .p = p, .newest = p->at };
    int r;

    deltas_init(&n.deltas);
    r = publish_fresh(p, tx);
    if (!r)
        r = read_head(p, tx);
    if (!r)
        r = store_publications(tx, 1, take_newest, &n.newest);
    if (r || (n.newest.epoch == p->at.epoch && n.newest.revision == p->at.revision))
        return r;
    r = store_publications(tx, FOLLOW_MAX, take_newer, &n);
    if (r < 0)
        return r;
    r = n.is_linked ? go_on(p, tx, &n) : STORE_E_NOT_FOUND;
    if (r == STORE_E_NOT_FOUND)
        r = read_anew(p, tx);
    *ret_is_news = true;
    if (!r)
        LOG(INFO, "state.followed", U("epoch", p->at.epoch), U("revision", p->at.revision));
    return r;
}

/* ---- the lead ---- */

/* Each that begins to lead has a term of its own, greater than those before. */
static int begin_term(struct publisher *p, struct store_tx *tx, uint64_t *ret_term)
{
    AUTO(buf_deinit) struct buf text;
    uint64_t term = 0;
    int r;

    buf_init_heap(&text, 64);
    r = store_meta_get(tx, TERM_KEY, &text);
    if (r && r != STORE_E_NOT_FOUND)
        return r;
    if (!r && !span_to_u64(buf_span(&text), UINT32_MAX, &term))
        return -EUCLEAN;
    *ret_term = term + 1;
    buf_clear(&text);
    buf_put_decimal(&text, (int64_t)*ret_term);
    LOG(INFO, "controlplane.leads", U("term", *ret_term), U("revision", p->at.revision));
    return store_meta_put(tx, TERM_KEY, buf_span(&text));
}

/* What this process knows may be more than what the database knows: relays leave it with the epoch. */
static int meet_server(struct store_tx *tx)
{
    bool is_other = false;
    int r = store_meet_server(tx, &is_other);

    if (!r && is_other)
        LOG(WARNING, "store.taken-over", S("detail", "another database server leads: the epoch is raised, as commits may be lost"));
    return r;
}

int publish_lead(struct publisher *p, struct store_tx *tx, bool *ret_is_news)
{
    bool leads = false, is_new = false;
    int r;

    r = store_lead(tx, &leads, &is_new);
    if (r)
        return r;
    if (p->leads && (!leads || is_new)) {
        LOG(WARNING, "controlplane.follows", U("term", p->term));
        p->headed_ms = 0;
    }
    p->leads = leads;
    if (!store_is_shared(p->options.store)) {
        p->term = 1;
        p->is_term_kept = true;
        return 0;
    }
    if (!leads)
        return 0;
    if (is_new)
        p->is_term_kept = false;
    r = p->is_term_kept ? 0 : meet_server(tx);
    if (!r)
        r = publish_adopt(p, tx, ret_is_news);
    return r || p->is_term_kept ? r : begin_term(p, tx, &p->term);
}

int publish_keep_head(struct publisher *p, struct store_tx *tx, const struct state_position *at,
                      uint64_t beat, const struct buf *head)
{
    AUTO(buf_deinit) struct buf value;

    buf_init_heap(&value, 8192);
    if (!store_is_shared(p->options.store))
        return 0;
    buf_printf(&value, "%llu %llu %llu\n", (unsigned long long)beat, (unsigned long long)at->epoch,
               (unsigned long long)at->revision);
    buf_put_span(&value, buf_span(head));
    return buf_error(&value) ? buf_error(&value) : store_meta_put(tx, HEAD_KEY, buf_span(&value));
}

/* ---- following ---- */

/* One that leads and does nothing (it was stopped, or is cut off from us only) is put off. */
static int judge_leader(struct publisher *p, struct store_tx *tx)
{
    int64_t idle_ms = monotonic_ms() - p->headed_ms;
    int r;

    if (!p->headed_ms) {
        p->headed_ms = monotonic_ms();
    } else if (idle_ms > PUBLISH_IDLE_BEATS * (int64_t)p->options.beat_ms) {
        LOG(WARNING, "controlplane.deposes", N("idle_ms", idle_ms));
        p->headed_ms = monotonic_ms();
        r = store_depose(tx);
        if (r)
            return r;
    }
    if (p->snapshot.len && p->head.len)
        return 0;
    snprintf(p->trouble_text, sizeof(p->trouble_text), "(waits for the control plane that leads)");
    return -EAGAIN;
}

static int follow_head(struct publisher *p, struct store_tx *tx)
{
    int r = read_head(p, tx);

    pthread_mutex_lock(&p->lock);
    put_head(p);
    pthread_mutex_unlock(&p->lock);
    return r;
}

int publish_follow(struct publisher *p, bool *ret_is_news, bool *ret_wants_lead)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    struct store_position position = { 0 };
    int r;

    r = store_begin(p->options.store, STORE_READ, &tx);
    if (!r)
        r = store_position(tx, &position);
    if (!r)
        r = publish_is_at(p, &position) ? follow_head(p, tx) : publish_adopt(p, tx, ret_is_news);
    if (!r && publish_is_at(p, &position) && (*ret_is_news || !p->snapshot.len) &&
        snapshot_must_be_made(p, &p->at))
        r = take_snapshot(p, tx);
    if (!r)
        r = snapshot_keep_up(p);
    *ret_wants_lead = !publish_is_at(p, &position);
    return r ? r : judge_leader(p, tx);
}

int publish_peek(struct publisher *p, bool *ret_has_work)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    struct store_position position = { 0 };
    int r;

    r = store_begin(p->options.store, STORE_READ, &tx);
    if (!r)
        r = store_position(tx, &position);
    *ret_has_work = !publish_is_at(p, &position);
    return publish_errno(p, r);
}

/* ---- at start ---- */

int publish_load(struct publisher *p)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    bool is_news = false, wants_lead;
    int r;

    r = store_begin(p->options.store, STORE_READ, &tx);
    if (!r)
        r = load(p, tx);
    if (tx)
        store_rollback(TAKE(tx));
    /* The records may be ahead of the chain; applying what they hold again changes nothing. */
    if (!r)
        r = publish_first_step(p, true, &is_news);
    if (!r && !p->leads)
        r = publish_follow(p, &is_news, &wants_lead);
    return publish_errno(p, r);
}
