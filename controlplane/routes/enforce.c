#include "controlplane/routes/enforce.h"
#include "controlplane/routes/api_internal.h"
#include "lib/state/record_codec.h"

uint32_t enforce_missing(const struct live_relay *relay, uint32_t features)
{
    return relay->is_admitted ? features & ~relay->features : 0;
}

void enforce_names(uint32_t features, struct buf *out)
{
    const char *comma = "";

    for (unsigned i = 0; i < STATE_FEATURE_COUNT; i++) {
        if (!(features & 1u << i))
            continue;
        buf_printf(out, "%s%s", comma, state_feature_name(i));
        comma = ", ";
    }
}

uint32_t enforce_in_force(const struct call *c)
{
    const struct api_options *o = &c->api->options;
    const struct store_position whatever = { 0 };
    AUTO(policy_unrefp) struct policy *policy = o->policy ? o->policy(o->policy_ctx, &whatever) : NULL;

    return policy ? policy_features(policy) : 0;
}

/* What a newer program has put there is not ours to judge. */
static int add_needed(void *ctx, const struct store_change *change)
{
    AUTO(record_unrefp) struct record *record = NULL;
    struct state_error error;
    uint32_t *needed = ctx;
    enum record_kind kind;
    int r;

    if (!change->json.p || !record_kind_parse(span_str(change->kind), &kind) || !record_kind_features(kind))
        return 0;
    r = record_decode(kind, change->id, change->json, &record, &error);
    if (!r)
        *needed |= record_features(record);
    return r < 0 ? r : 0;
}

static int refuse(struct call *c, const struct live_relay *relay, uint32_t missing)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    char mem[256];
    struct buf names;
    int r = store_object_get(c->tx, "relay", &relay->id, &object);

    if (r)
        return r;
    buf_init_fixed(&names, mem, sizeof(mem));
    enforce_names(missing, &names);
    return call_refuse(c, REASON_RELAY_TOO_OLD, "The relay %s (%s) does not know: " SPAN_FMT ".", object->name,
                       relay->version[0] ? relay->version : "of an older release", SPAN_ARG(buf_span(&names)));
}

int enforce_check(struct call *c)
{
    AUTO(live_deinit) struct live live = { 0 };
    struct store_position taken;
    uint32_t needed = 0;
    int r;

    if (!store_has_revision(c->tx, &taken))
        return 0;
    r = store_state_changes(c->tx, taken.revision - 1, add_needed, &needed);
    if (r || !needed)
        return r;
    r = live_read(c->tx, &live);
    for (size_t i = 0; !r && i < live.relay_count; i++) {
        uint32_t missing = enforce_missing(&live.relays[i], needed);

        if (missing)
            r = refuse(c, &live.relays[i], missing);
    }
    return r;
}
