#include "controlplane/publish/publish_internal.h"
#include "lib/log/log.h"
#include "lib/state/agentpolicy.h"
#include "lib/state/record_codec.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define CHANGES_KEPT 10000      /* revisions whose changes stay in the store */

static int all_touched(const struct policy *policy, struct touched *t)
{
    struct policy_cursor cursor = { 0 };
    const struct record *each;
    int r = 0;

    while (!r && (each = policy_next(policy, RECORD_AGENT, &cursor))) {
        struct ulid id;

        if (ulid_parse(record_id(each), &id))
            r = touched_add(t, &id);
    }
    return r;
}

/* ---- policies of agents ---- */

struct step {
    struct publisher *p;
    struct store_tx *tx;
    struct store_position position;
    int64_t now_ms;
};

/* The rules, without the line that holds the revision. */
static struct span rules_of(struct span signed_text)
{
    struct state_error ignored;
    struct document d;
    struct span rest, line;

    if (document_cut(&signed_text, &d, &ignored))
        return SPAN_NONE;
    rest = d.bytes;
    return span_cut(&rest, '\n', &line) ? rest : SPAN_NONE;
}

static bool is_signed_by(const char *document, const char *key_id)
{
    struct state_error ignored;
    struct span text = span_str(document);
    struct document d;

    return !document_cut(&text, &d, &ignored) && strcmp(d.key_id, key_id) == 0;
}

static int put_policy(struct step *s, const struct ulid *agent, struct span signed_text)
{
    AUTO(record_unrefp) struct record *record = record_new(RECORD_AGENTPOLICY, ulid_span(agent));
    AUTO(buf_deinit) struct buf json;

    buf_init_heap(&json, 2 * AGENTPOLICY_MAX);
    if (!record)
        return -ENOMEM;
    container_of(record, struct agentpolicy_record, record)->document = span_dup(signed_text);
    if (!container_of(record, struct agentpolicy_record, record)->document)
        return -ENOMEM;
    if (record_encode(record, &json) || buf_error(&json))
        return -ENOBUFS;
    return store_state_put(s->tx, "agentpolicy", ulid_span(agent), buf_span(&json));
}

struct refresh {
    struct step *s;
    const struct policy *policy;
};

/* The very bytes that it has under the present key: an agent for which no policy can be made keeps its
 * last one, and the key before is held up by nobody. */
static int sign_again(struct step *s, const struct ulid *agent, const struct agentpolicy_record *old)
{
    const struct keyring *keys = s->p->options.keys;
    struct span whole = span_str(old->document);
    AUTO(buf_deinit) struct buf text = { 0 };
    struct state_error ignored;
    struct document d;
    int r;

    if (is_signed_by(old->document, keyring_state_id(keys)) || document_cut(&whole, &d, &ignored))
        return 0;
    buf_init_heap(&text, 2 * AGENTPOLICY_MAX);
    r = document_sign(DOCUMENT_AGENTPOLICY, keyring_cluster(keys), d.epoch, keyring_state_key(keys), d.bytes, &text);
    return r ? r : put_policy(s, agent, buf_span(&text));
}

static int refresh_agent(void *ctx, const struct ulid *agent, const struct agent_reach *reach)
{
    struct refresh *f = ctx;
    const struct agentpolicy_record *old = RECORD_AS(
        policy_find(f->policy, RECORD_AGENTPOLICY, ulid_span(agent)), AGENTPOLICY, agentpolicy_record);
    struct agentpolicy_header header = { .epoch = f->s->position.epoch,
                                         .revision = f->s->position.revision };
    const struct keyring *keys = f->s->p->options.keys;
    AUTO(buf_deinit) struct buf text;
    int r;

    buf_init_heap(&text, 2 * AGENTPOLICY_MAX);
    if (!policy_agent(f->policy, agent))
        return old ? store_state_put(f->s->tx, "agentpolicy", ulid_span(agent), SPAN_NONE) : 0;
    memcpy(header.agent, agent->text, sizeof(header.agent));
    r = reach ? agentpolicy_sign(keyring_cluster(keys), &header, reach, keyring_state_key(keys), &text)
              : -ENOSPC;
    if (r == -ENOBUFS || r == -ENOSPC) {        /* the others must not wait for this one */
        LOG(ERROR, "publish.agent-policy-too-large", S("agent", agent->text));
        return old ? sign_again(f->s, agent, old) : 0;
    }
    if (r || (old && is_signed_by(old->document, keyring_state_id(keys)) && span_eq(rules_of(span_str(old->document)), rules_of(buf_span(&text)))))
        return r;
    return put_policy(f->s, agent, buf_span(&text));
}

/* ---- one step ---- */

struct outcome {                /* made inside the transaction, put in force after it */
    struct buf delta, snapshot, head;
    uint64_t beat;
    bool has_snapshot;
    struct state_position at;
    uint64_t after;
    struct policy *policy;
};

static void outcome_init(struct outcome *o)
{
    *o = (struct outcome){ .has_snapshot = false };
    buf_init_heap(&o->delta, 2 * STATE_DELTA_MAX);
    buf_init_heap(&o->snapshot, DOCUMENT_SIZE_MAX);
    buf_init_heap(&o->head, 4096);
}

static void outcome_deinit(struct outcome *o)
{
    buf_deinit(&o->delta);
    buf_deinit(&o->head);
    buf_deinit(&o->snapshot);
    policy_unref(o->policy);
}

static bool is_expiry_due(const struct step *s)
{
    return s->now_ms - s->p->expired_ms >= PUBLISH_EXPIRY_MS;
}

/* The cache follows the policy that will be in force; should this step fail, it is filled
 * anew by the next. */
static int find_touched(struct step *s, const struct batch *b, const struct policy *after,
                        struct touched *t)
{
    struct publisher *p = s->p;
    int r;

    if (!p->has_reach) {
        r = reach_cache_fill(&p->reach, after, s->now_ms);
        return r ? r : all_touched(after, t);
    }
    p->has_reach = false;
    r = reach_cache_change(&p->reach, p->policy, after, b->changes, b->count, s->now_ms, t);
    if (r || !is_expiry_due(s))
        return r;
    p->expired_ms = s->now_ms;
    return reach_cache_expire(&p->reach, after, s->now_ms, t);
}

static int compile_agents(struct step *s, const struct batch *b, const struct policy *after)
{
    AUTO(touched_deinit) struct touched touched = { .count = 0 };
    struct refresh refresh = { s, after };
    int r;

    r = find_touched(s, b, after, &touched);
    if (!r)
        r = publish_stale(s->p, after, &touched);
    if (r)
        return r;
    touched_settle(&touched);
    return reach_compile(&s->p->reach, after, &touched, refresh_agent, &refresh);
}

static int make_delta(struct step *s, struct outcome *o)
{
    AUTO(batch_deinit) struct batch b;
    struct state_change change = { .epoch = s->position.epoch, .revision = s->position.revision,
                                   .after = s->p->at.revision };
    struct store_publication row = { .epoch = change.epoch, .revision = change.revision,
                                     .after = change.after };
    int r;

    batch_init(&b, false);
    r = store_state_changes(s->tx, s->p->at.revision, batch_add, &b);
    if (!r)
        r = batch_apply(&b, s->p->policy, &o->policy);
    if (r)
        return r;
    memcpy(change.digest, s->p->at.digest, sizeof(change.digest));
    change.lines = buf_span(&b.lines);
    change.count = b.line_count;
    o->at = (struct state_position){ .epoch = change.epoch, .revision = change.revision };
    o->after = change.after;
    r = state_delta_sign(keyring_cluster(s->p->options.keys), &change,
                         keyring_state_key(s->p->options.keys), &o->delta, o->at.digest);
    if (r)
        return r;
    memcpy(row.digest, o->at.digest, sizeof(row.digest));
    row.document = buf_span(&o->delta);
    return store_publication_put(s->tx, &row);
}

/* A new epoch is not led to by a delta: relays get the snapshot. */
static int make_epoch(struct step *s, struct outcome *o)
{
    struct store_publication row = { .epoch = s->position.epoch, .revision = s->position.revision,
                                     .after = s->position.revision, .document = SPAN("") };
    AUTO(batch_deinit) struct batch b;
    int r;

    batch_init(&b, false);
    r = store_state_changes(s->tx, s->p->at.revision, batch_add, &b);
    if (!r)
        r = batch_apply(&b, s->p->policy, &o->policy);
    if (r)
        return r;
    o->at = STATE_POSITION_NONE;
    o->at.epoch = row.epoch;
    o->at.revision = o->after = row.revision;
    memcpy(row.digest, o->at.digest, sizeof(row.digest));
    return store_publication_put(s->tx, &row);
}

int publish_snapshot(const struct publisher *p, struct store_tx *tx, const struct state_position *at,
                     struct buf *out)
{
    AUTO(batch_deinit) struct batch b;
    struct state_change change = { .epoch = at->epoch, .revision = at->revision };
    int r;

    batch_init(&b, true);
    r = store_state_each(tx, batch_add, &b);
    if (r)
        return r;
    memcpy(change.digest, at->digest, sizeof(change.digest));
    change.lines = buf_span(&b.lines);
    change.count = b.line_count;
    return state_snapshot_sign(keyring_cluster(p->options.keys), &change, keyring_state_key(p->options.keys), out);
}

bool publish_is_at(const struct publisher *p, const struct store_position *position)
{
    return position->epoch == p->at.epoch && position->revision == p->at.revision;
}

static int publish_changes(struct step *s, struct outcome *o)
{
    struct publisher *p = s->p;
    AUTO(batch_deinit) struct batch b;
    AUTO(policy_unrefp) struct policy *after = NULL;
    int r;

    batch_init(&b, false);
    r = store_state_changes(s->tx, p->at.revision, batch_add, &b);
    if (!r)
        r = batch_apply(&b, p->policy, &after);
    if (!r)
        r = compile_agents(s, &b, after);
    if (!r)
        r = store_position(s->tx, &s->position);
    if (r)
        return r;
    if (publish_is_at(p, &s->position)) {
        o->at = p->at;
        o->policy = policy_ref(p->policy);
        return 0;
    }
    return s->position.epoch == p->at.epoch ? make_delta(s, o) : make_epoch(s, o);
}

static int trim(struct step *s)
{
    uint64_t revision = s->position.revision;
    int r;

    r = store_publications_trim(s->tx, PUBLISH_DELTAS_MAX);
    if (!r && revision > CHANGES_KEPT)
        r = store_state_trim(s->tx, revision - CHANGES_KEPT);
    return r;
}

static int sign_head(const struct publisher *p, const struct state_position *at, struct buf *out,
                     uint64_t *ret_beat)
{
    uint64_t now_ms = store_now_ms(p->options.store);
    struct state_head head = { .epoch = at->epoch, .revision = at->revision, .term = p->term,
                               .time_ms = (int64_t)now_ms };

    /* By the clock, so that it goes on rising over a restart. */
    head.beat = now_ms > p->beat ? now_ms : p->beat + 1;
    memcpy(head.digest, at->digest, sizeof(head.digest));
    *ret_beat = head.beat;
    return state_head_sign(keyring_cluster(p->options.keys), &head,
                           keyring_state_key(p->options.keys), out);
}

/* With the lock held: whoever asks sees the head and what leads to it, or neither. */
static int put_in_force(struct publisher *p, struct outcome *o)
{
    struct policy *old = p->policy;
    int r = 0;

    if (p->at.epoch != o->at.epoch)
        deltas_clear(&p->deltas);
    if (o->delta.len)
        r = deltas_append(&p->deltas, o->at.epoch, o->at.revision, o->after, buf_span(&o->delta));
    if (o->has_snapshot)
        snapshot_put(p, &o->snapshot, &o->at);
    p->has_reach = true;
    p->at = o->at;
    p->beat = o->beat;
    buf_clear(&p->head);
    buf_put_span(&p->head, buf_span(&o->head));
    p->policy = TAKE(o->policy);
    o->policy = old;                    /* let go without the lock */
    return r ? r : buf_error(&p->head);
}

/* A state begins at revision 1. */
static int make_first(struct step *s)
{
    char mem[256];
    struct buf json;

    if (s->position.revision)
        return 0;
    buf_init_fixed(&json, mem, sizeof(mem));
    buf_printf(&json, "{\"value\":\"%s\"}", keyring_cluster(s->p->options.keys));
    return store_state_put(s->tx, "setting", SPAN("cluster"), buf_span(&json));
}

int publish_first_step(struct publisher *p, bool is_first, bool *ret_is_news)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    AUTO(outcome_deinit) struct outcome o;
    struct step s = { .p = p, .now_ms = (int64_t)store_now_ms(p->options.store) };
    int r;

    outcome_init(&o);
    r = store_begin(p->options.store, STORE_WRITE, &s.tx);
    tx = s.tx;
    if (!r)
        r = publish_lead(p, tx, ret_is_news);
    if (!r)
        r = publish_fresh(p, tx);
    if (!r && p->leads)
        r = store_position(tx, &s.position);
    is_first |= !p->is_term_kept;       /* who begins to lead says so in a head */
    if (r || !p->leads ||
        (!is_first && publish_is_at(p, &s.position) && !is_expiry_due(&s) && !p->is_resigning))
        return r;
    r = make_first(&s);
    if (!r)
        r = publish_changes(&s, &o);
    if (!r && !is_first && publish_is_at(p, &s.position)) {
        p->has_reach = true;            /* nothing came of it */
        return 0;
    }
    if (!r && snapshot_must_be_made(p, &o.at)) {
        r = publish_snapshot(p, tx, &o.at, &o.snapshot);
        o.has_snapshot = true;
    }
    if (!r)
        r = trim(&s);
    if (!r)
        r = sign_head(p, &o.at, &o.head, &o.beat);
    if (!r)
        r = publish_keep_head(p, tx, &o.at, o.beat, &o.head);
    if (!r)
        r = store_commit(&tx, NULL);
    if (r)
        return r;
    p->is_term_kept = true;
    *ret_is_news = true;
    LOG(INFO, "state.published", U("epoch", o.at.epoch), U("revision", o.at.revision),
        U("bytes", o.delta.len), B("snapshot", o.has_snapshot));
    pthread_mutex_lock(&p->lock);
    r = put_in_force(p, &o);
    pthread_mutex_unlock(&p->lock);
    return r ? r : snapshot_keep_up(p);
}

/* A condition of the store is nothing that the caller could handle here. */
int publish_errno(struct publisher *p, int r)
{
    if (r <= 0)
        return r;
    snprintf(p->trouble_text, sizeof(p->trouble_text), "(the store says %d)", r);
    return r == STORE_E_BUSY ? -EBUSY : -EINVAL;
}

int publish_step(struct publisher *p, bool *ret_is_news)
{
    return publish_errno(p, publish_first_step(p, false, ret_is_news));
}

/* A new beat of a database that others read is theirs too. */
static int keep_beat(struct publisher *p, uint64_t beat, const struct buf *head)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    bool is_news = false;
    int r;

    if (!store_is_shared(p->options.store))
        return 0;
    r = store_begin(p->options.store, STORE_WRITE, &tx);
    if (!r)
        r = publish_lead(p, tx, &is_news);
    if (!r && (!p->leads || !p->is_term_kept || is_news))
        return -EAGAIN;                 /* the head is signed for what is no more */
    if (!r)
        r = publish_keep_head(p, tx, &p->at, beat, head);
    return r ? r : store_commit(&tx, NULL);
}

int publish_head(struct publisher *p)
{
    AUTO(buf_deinit) struct buf text;
    uint64_t beat;
    int r;

    buf_init_heap(&text, 4096);
    if (!p->leads)
        return 0;
    r = sign_head(p, &p->at, &text, &beat);
    if (!r)
        r = publish_errno(p, keep_beat(p, beat, &text));
    if (r)
        return r;
    pthread_mutex_lock(&p->lock);
    p->beat = beat;
    buf_clear(&p->head);
    buf_put_span(&p->head, buf_span(&text));
    r = buf_error(&p->head);
    pthread_mutex_unlock(&p->lock);
    return r;
}
