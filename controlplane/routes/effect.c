#include "controlplane/routes/effect.h"
#include "controlplane/publish/stored.h"
#include "controlplane/routes/doc.h"
#include "controlplane/routes/expect.h"
#include "lib/policy/reach.h"

#include <errno.h>
#include <stdio.h>

/* How many, and the first of them. */
struct listing {
    uint64_t count;
    struct buf first;
    struct json_writer w;
    bool is_truncated;
};

struct effect {
    struct call *c;
    struct store_position at;
    struct policy *before, *after;
    struct stored_changed changed;
    struct listing gains, losses, streams, harm, broken;
    struct ulid broken_ids[EFFECT_SHOWN];
    uint64_t own_losses, own_streams, streams_seen;
    int64_t now_ms;
    bool is_shown, is_finished, is_rough;       /* is_shown: a dry run's */
};

static void listing_init(struct listing *l)
{
    buf_init_heap(&l->first, 256u << 10);
    json_begin(&l->w, &l->first);
    json_open_array(&l->w, NULL);
}

/* Whether there is room for one more to be shown. */
static bool listing_add(struct listing *l)
{
    return l->count++ < EFFECT_SHOWN;
}

static void listing_put(const struct listing *l, const char *name, struct json_writer *w)
{
    json_open_object(w, name);
    json_put_int(w, "count", (int64_t)l->count);
    json_put_bool(w, "truncated", l->is_truncated);
    json_put_raw(w, "first", buf_span(&l->first));
    json_close_object(w);
}

void effect_free(struct effect *e)
{
    if (!e)
        return;
    policy_unref(e->before);
    policy_unref(e->after);
    stored_changed_deinit(&e->changed);
    buf_deinit(&e->gains.first);
    buf_deinit(&e->losses.first);
    buf_deinit(&e->streams.first);
    buf_deinit(&e->harm.first);
    buf_deinit(&e->broken.first);
    free(e);
}
DEFINE_FREEP(effect, effect_free)

static struct effect *effect_new(struct call *c)
{
    struct effect *e = calloc(1, sizeof(*e));

    if (!e)
        return NULL;
    e->c = c;
    e->is_shown = c->is_dry;
    e->now_ms = (int64_t)store_now_ms(c->api->options.store);
    listing_init(&e->gains);
    listing_init(&e->losses);
    listing_init(&e->streams);
    listing_init(&e->harm);
    listing_init(&e->broken);
    return e;
}

/* The publisher's policy is near; without it all is read. */
static int look_before(struct effect *e)
{
    const struct api_options *options = &e->c->api->options;
    AUTO(policy_unrefp) struct policy *base = NULL;
    struct store_position at = { 0 };
    int r = store_position(e->c->tx, &e->at);

    if (!r && options->policy_now)
        base = options->policy_now(options->policy_ctx, &at);
    return r ? r : stored_policy(e->c->tx, base, &at, &e->before, NULL);
}

int effect_begin(struct call *c)
{
    AUTO(effect_freep) struct effect *e = NULL;
    bool is_wanted = c->is_dry;
    int r = is_wanted ? 0 : expectations_exist(c->tx, &is_wanted);

    if (r || !is_wanted)
        return r;
    e = effect_new(c);
    r = e ? look_before(e) : -ENOMEM;
    if (!r)
        c->effect = TAKE(e);
    return r;
}

/* ---- access ---- */
static void put_named(struct json_writer *w, const char *key, const struct record *record)
{
    json_open_object(w, key);
    json_put_text(w, "id", record->id);
    if (record_name(record))
        json_put_text(w, "name", record_name(record));
    json_close_object(w);
}

static void put_item(struct json_writer *w, const struct compare_item *item)
{
    const struct policy_decision *d = item->allowed;
    char text[ADDR_TEXT_MAX];

    json_open_object(w, NULL);
    put_named(w, "user", &item->user->record);
    json_put_text(w, "host", item->host);
    snprintf(text, sizeof(text), item->ports.first == item->ports.last ? "%u" : "%u-%u", item->ports.first,
             item->ports.last);
    json_put_text(w, "ports", text);
    if (item->has_source)
        json_put_text(w, "source", addr_format(&item->source, text));
    put_named(w, "grant", &d->grant->record);
    if (d->profile)
        put_named(w, "destination_profile", &d->profile->record);
    put_named(w, "agent_group", &d->agentgroup->record);
    json_put_text(w, "reason", reason_text(item->refused->reason));
    json_close_object(w);
}

static void on_item(void *ctx, const struct compare_item *item)
{
    struct effect *e = ctx;
    struct listing *l = item->is_gain ? &e->gains : &e->losses;

    if (!item->is_gain && span_eq(record_id(&item->user->record), span_str(e->c->req->principal.id)))
        e->own_losses++;
    if (listing_add(l))
        put_item(&l->w, item);
}

static int compare_access(struct effect *e)
{
    struct compare_summary summary;
    int r = policy_compare(&(struct compare_question){
        .before = e->before, .after = e->after, .changed = e->changed.items, .changed_count = e->changed.count,
        .now_ms = e->now_ms, .item = on_item, .ctx = e }, &summary);

    if (r)
        return r;
    e->gains.is_truncated = e->losses.is_truncated = summary.is_truncated;
    e->is_rough = summary.is_rough;
    return 0;
}

/* ---- streams ---- */

/* What a stream stands on, by what its relay told; what it used of allow_special is not known, so
 * it counts as used where it could be. */
static bool read_standing(const struct effect *e, const struct json_value *doc, struct policy_standing *s)
{
    const struct profile_record *profile;

    *s = (struct policy_standing){
        .user = doc_id(doc, "user"), .credential = doc_id(doc, "credential"), .grant = doc_id(doc, "grant"),
        .profile = doc_id(doc, "profile"), .agentgroup = doc_id(doc, "agentgroup"), .agent = doc_id(doc, "agent"),
        .opened_ms = doc_int(doc, "opened_at_ms"),
    };
    (void)span_copy(doc_text(doc, "stream"), s->uid, sizeof(s->uid));
    if (!addr_parse(doc_text(doc, "source"), &s->source) ||
        !target_parse(doc_text(doc, "host"), (uint16_t)doc_int(doc, "port"), &s->target))
        return false;
    profile = policy_profile(e->before, &s->profile);
    s->uses_special = profile && profile->allow_special &&
                      (!s->target.is_literal || address_special_kind(&s->target.addr, NULL, 0));
    return true;
}

static void put_stream(struct json_writer *w, const struct store_object *row, const struct json_value *doc,
                       enum reason reason)
{
    static const char *const copied[] = { "user", "user_name", "host", "port", "agent", "agent_name", "relay" };

    json_open_object(w, NULL);
    json_put_text(w, "id", row->id.text);
    for (size_t i = 0; i < ARRAY_LEN(copied); i++) {
        if (json_get(doc, copied[i]))
            json_put_value(w, copied[i], json_get(doc, copied[i]));
    }
    json_put_text(w, "reason", reason_text(reason));
    json_close_object(w);
}

static int on_stream(void *ctx, const struct store_object *row)
{
    struct effect *e = ctx;
    AUTO(json_value_freep) struct json_value *doc = NULL;
    struct policy_standing s;
    struct json_error error;
    enum reason reason;
    int64_t again_ms;
    int r;

    if (++e->streams_seen > EFFECT_STREAMS_MAX) {
        e->streams.is_truncated = true;
        return 0;
    }
    r = json_parse(row->doc, &doc, &error);
    if (r || !read_standing(e, doc, &s) || policy_still_allowed(e->before, &s, e->now_ms, &again_ms) != REASON_NONE)
        return r;
    reason = policy_still_allowed(e->after, &s, e->now_ms, &again_ms);
    if (reason == REASON_NONE)
        return 0;
    e->own_streams += span_eq(ulid_span(&s.user), span_str(e->c->req->principal.id));
    if (listing_add(&e->streams))
        put_stream(&e->streams.w, row, doc, reason);
    return 0;
}

static int look_at_streams(struct effect *e)
{
    struct store_query query = { .source = STORE_STREAMS, .limit = STORE_LIMIT_MAX, .filter_count = 1 };

    query.filters[0] = (struct store_filter){ .field = "state", .text = SPAN("open") };
    return store_list_all(e->c->tx, &query, on_stream, e);
}

/* ---- whoever asks ---- */
static void add_harm(struct effect *e, const char *what, const char *detail)
{
    if (!listing_add(&e->harm))
        return;
    json_open_object(&e->harm.w, NULL);
    json_put_text(&e->harm.w, "what", what);
    json_put_text(&e->harm.w, "detail", detail);
    json_close_object(&e->harm.w);
}

static int look_at_account(struct effect *e, const struct ulid *id)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    AUTO(json_value_freep) struct json_value *doc = NULL;
    struct json_error error;
    int r = store_object_get(e->c->tx, NULL, id, &object);

    if (r == STORE_E_NOT_FOUND)
        add_harm(e, "account", "You would be gone.");
    if (!r)
        r = json_parse(object->doc, &doc, &error);
    if (r)
        return r == STORE_E_NOT_FOUND ? 0 : r;
    if (!doc_is(doc, "status", "active"))
        add_harm(e, "account", "You would be disabled.");
    if (!role_covers(role_bit(doc_text(doc, "role")), e->c->req->principal.roles))
        add_harm(e, "role", "Your role would be narrower.");
    if (policy_user_admitted(e->after, id, e->now_ms) != REASON_NONE &&
        policy_user_admitted(e->before, id, e->now_ms) == REASON_NONE)
        add_harm(e, "lock", "You would be locked.");
    return 0;
}

static int look_at_oneself(struct effect *e)
{
    const struct principal *p = &e->c->req->principal;
    AUTO(store_object_freep) struct store_object *token = NULL;
    struct ulid id;
    int r = ulid_parse(span_str(p->id), &id) ? look_at_account(e, &id) : 0;

    if (r || !ulid_parse(span_str(p->token_id), &id))
        return r;
    r = store_object_get(e->c->tx, NULL, &id, &token);
    if (r == STORE_E_NOT_FOUND)
        add_harm(e, "token", "What you ask with would be gone.");
    return r == STORE_E_NOT_FOUND ? 0 : r;
}

static void add_own_losses(struct effect *e)
{
    char text[96];

    snprintf(text, sizeof(text), "You would lose access: %llu of the losses are yours.",
             (unsigned long long)e->own_losses);
    if (e->own_losses)
        add_harm(e, "access", text);
    snprintf(text, sizeof(text), "%llu of your streams would be cut.", (unsigned long long)e->own_streams);
    if (e->own_streams)
        add_harm(e, "streams", text);
}

/* ---- expectations ---- */
static void on_broken(void *ctx, const struct expectation_seen *seen)
{
    struct effect *e = ctx;
    struct json_writer *w = &e->broken.w;

    if (!listing_add(&e->broken))
        return;
    e->broken_ids[e->broken.count - 1] = *seen->id;
    json_open_object(w, NULL);
    json_put_text(w, "id", seen->id->text);
    json_put_text(w, "name", seen->name);
    json_put_text(w, "access", seen->is_allow ? "allow" : "deny");
    json_put_text(w, "user", seen->user);
    json_put_text(w, "host", seen->host);
    json_put_int(w, "port", seen->port);
    json_put_text(w, "reason", reason_text(seen->reason));
    json_close_object(w);
}

static int look_at_expectations(struct effect *e)
{
    return expectations_broken(e->c->tx, e->before, e->after, e->now_ms, on_broken, e, &e->broken.is_truncated);
}

static int refuse_broken(struct call *c)
{
    struct effect *e = c->effect;
    unsigned long long count = e->broken.count;

    json_close_array(&e->broken.w);
    buf_clear(&c->res->extra);
    buf_put_str(&c->res->extra, "\"expectations\":");
    buf_put_span(&c->res->extra, buf_span(&e->broken.first));
    c->res->header_count = 0;
    if (!buf_error(&c->res->extra))
        c->res->problem.extra = buf_span(&c->res->extra);
    return call_refuse(c, REASON_EXPECTATION_BROKEN, "%llu %s would hold no more.", count,
                       count == 1 ? "expectation" : "expectations");
}

/* The audit says of each that it was broken on purpose. */
static int audit_broken(struct call *c)
{
    const struct effect *e = c->effect;
    int r = 0;

    for (size_t i = 0; !r && i < e->broken.count && i < EFFECT_SHOWN; i++) {
        struct change change = call_change(c);

        change.event.object_kind = kind_at(KIND_EXPECTATION)->name;
        change.event.object_id = ulid_span(&e->broken_ids[i]);
        change.event.outcome = reason_text(REASON_EXPECTATION_BROKEN);
        r = store_audit_append(c->tx, &change.event, NULL);
    }
    return r;
}

int effect_admit(struct call *c)
{
    const struct effect *e = c->effect;

    if (!e || e->is_shown || !e->broken.count)
        return 0;
    return c->may_break ? audit_broken(c) : refuse_broken(c);
}

/* ---- the whole ---- */
static void end_dry_run(struct call *c)
{
    if (c->is_dry)
        store_rollback(TAKE(c->tx));
}

int effect_finish(struct call *c)
{
    struct effect *e = c->effect;
    int r;

    if (!e || e->is_finished)
        return 0;
    e->is_finished = true;
    r = stored_policy(c->tx, e->before, &e->at, &e->after, &e->changed);
    if (!r)
        r = look_at_expectations(e);
    if (r || !e->is_shown)
        return r;
    r = look_at_streams(e);
    if (!r)
        r = look_at_oneself(e);
    if (!r)
        end_dry_run(c);
    if (!r)
        r = compare_access(e);
    if (!r)
        add_own_losses(e);
    return r;
}

void effect_put(const struct call *c, struct json_writer *w)
{
    struct effect *e = c->effect;
    struct {
        const char *name;
        struct listing *listing;
    } lists[] = {
        { "gains", e ? &e->gains : NULL },          { "losses", e ? &e->losses : NULL },
        { "streams_cut", e ? &e->streams : NULL },  { "harm", e ? &e->harm : NULL },
        { "expectations_broken", e ? &e->broken : NULL },
    };

    if (!e || !e->is_shown)
        return;
    json_open_object(w, "effect");
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        json_close_array(&lists[i].listing->w);
        listing_put(lists[i].listing, lists[i].name, w);
    }
    json_put_bool(w, "rough", e->is_rough);
    json_close_object(w);
}
