#include "controlplane/routes/refusals.h"

#include <string.h>

/* An answer with a problem, as the audit trail tells it. */

#define OBJECT_MAX 63

/* Secrets, which somebody may have put into a path, have a '_' in them. */
static bool is_name(struct span text)
{
    for (size_t i = 0; i < text.n; i++)
        if (!memchr("abcdefghijklmnopqrstuvwxyz0123456789.-", text.p[i], 38))
            return false;
    return text.n <= OBJECT_MAX;
}

static void tell_object(const struct request *req, const struct response *res, bool is_known,
                        struct store_audit *event)
{
    struct span named = req->param_count && is_known ? req->params[0] : SPAN_NONE;
    struct ulid id;

    event->object_kind = res->note.object_kind;
    if (res->note.object_kind)
        event->object_id = ulid_span(&res->note.object);
    else if (ulid_parse(named, &id))
        event->object_id = named;
    else if (is_name(named))
        event->object_name = named;
}

static void tell_caller(const struct principal *p, struct store_audit *event)
{
    event->actor_kind = p->id[0] ? p->kind : "anonymous";
    event->actor_id = span_str(p->id);
    event->actor_name = span_str(p->name);
    event->token_id = span_str(p->token_id);
}

void refusals_on_answer(void *ctx, const struct request *req, const struct response *res)
{
    const struct refusal_note *note = &res->note;
    const bool is_stranger = note->asker_kind ? !note->asker.text[0] : !req->principal.id[0];
    const struct addr *from = note->asker_kind ? &note->asker_addr : &req->peer;
    struct addr network = addr_source(from);
    char address[ADDR_TEXT_MAX], source[ADDR_TEXT_MAX];
    struct refusal what = {
        .reason = res->problem.reason,
        .is_known = !is_stranger,
        .event = { .action = req->route ? req->route->operation : "unknown", .trace_id = req->trace_id },
    };

    if (note->is_audited)
        return;
    if (note->asker_kind) {
        what.event.actor_kind = note->asker_kind;
        what.event.actor_id = span_str(note->asker.text);
    } else {
        tell_caller(&req->principal, &what.event);
    }
    if (is_stranger || !note->asker_kind)
        what.event.address = span_str(addr_format(from, address));
    what.source = span_str(addr_format(&network, source));
    tell_object(req, res, what.is_known, &what.event);
    refusals_note(ctx, &what);
}
