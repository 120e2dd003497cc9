#include "controlplane/domain/when.h"
#include "controlplane/publish/rotation.h"
#include "controlplane/routes/body.h"
#include "controlplane/routes/handlers.h"
#include "controlplane/routes/view.h"

#include <string.h>

/* /keys: which keys there are, and another in the place of one.  No private part is ever shown. */
#define DAY_S 86400
#define SEEN_MAX 64

struct seen {                           /* of one purpose */
    char name[64];
    int64_t number, created_ms;         /* of the active one */
    int64_t next, previous;             /* numbers; 0: none */
    char fingerprint[SHA256_HEX];
};

struct listing {
    struct seen rows[SEEN_MAX];
    size_t count;
};

/* "ca/agent" is told as "ca-agent". */
static void name_of(const char *purpose, char dst[64])
{
    size_t n = 0;

    for (; purpose[n] && n < 63; n++)
        dst[n] = purpose[n] == '/' ? '-' : purpose[n];
    dst[n] = '\0';
}

static struct seen *seen_of(struct listing *l, const char *name)
{
    for (size_t i = 0; i < l->count; i++) {
        if (strcmp(l->rows[i].name, name) == 0)
            return &l->rows[i];
    }
    if (l->count == SEEN_MAX)
        return NULL;
    l->rows[l->count] = (struct seen){ .number = 0 };
    memcpy(l->rows[l->count].name, name, sizeof(l->rows[0].name));
    return &l->rows[l->count++];
}

static int take(void *ctx, const struct store_key *key)
{
    char name[64];
    struct seen *seen;

    name_of(key->purpose, name);
    seen = seen_of(ctx, name);
    if (!seen)
        return 0;
    if (strcmp(key->status, "next") == 0)
        seen->next = key->number;
    if (strcmp(key->status, "retiring") == 0)
        seen->previous = key->number;
    if (strcmp(key->status, "active") != 0)
        return 0;
    seen->number = key->number;
    seen->created_ms = key->created_ms;
    if (key->public_part.n)
        sha256_hex(key->public_part, seen->fingerprint);
    return 0;
}

static int put(struct call *c, const struct seen *seen, struct json_writer *w)
{
    struct rotation plan = { 0 };
    bool is_rotated = rotation_is_purpose(span_str(seen->name));
    int r = is_rotated ? rotation_get(c->tx, seen->name, &plan) : 0;

    if (r)
        return r;
    json_open_object(w, NULL);
    json_put_text(w, "id", seen->name);
    json_put_text(w, "name", seen->name);
    json_put_bool(w, "can_rotate", is_rotated);
    json_put_int(w, "number", seen->number);
    view_time(w, "created_at", seen->created_ms);
    if (seen->fingerprint[0])
        json_put_str(w, "fingerprint", span_first(span_str(seen->fingerprint), 12));
    if (seen->next) {
        json_put_int(w, "next", seen->next);
        view_time(w, "next_at", plan.activate_ms);
    }
    if (seen->next || seen->previous)
        view_time(w, "previous_until", plan.retire_ms);
    if (seen->previous)
        json_put_int(w, "previous", seen->previous);
    json_close_object(w);
    return 0;
}

static int list(struct call *c)
{
    struct listing l = { .count = 0 };
    struct json_writer w;
    int r = store_keys(c->tx, NULL, take, &l);

    json_begin(&w, &c->res->body);
    json_open_object(&w, NULL);
    json_open_array(&w, "items");
    for (size_t i = 0; !r && i < l.count; i++)
        r = put(c, &l.rows[i], &w);
    json_close_array(&w);
    json_close_object(&w);
    c->res->status = 200;
    return r ? r : buf_error(&c->res->body);
}

static int answer_one(struct call *c, struct span name)
{
    struct listing l = { .count = 0 };
    struct json_writer w;
    int r = store_keys(c->tx, NULL, take, &l);

    if (r)
        return r;
    json_begin(&w, &c->res->body);
    c->res->status = 200;
    for (size_t i = 0; i < l.count; i++) {
        if (span_eq(span_str(l.rows[i].name), name))
            return put(c, &l.rows[i], &w);
    }
    return call_not_found(c);
}

static int get(struct call *c)
{
    return answer_one(c, c->req->params[0]);
}

/* ---- rotate ---- */
static int audit(struct call *c, const char *name)
{
    struct change change = call_change(c);

    change.event.object_kind = "key";
    change.event.object_name = span_str(name);
    change.event.outcome = "ok";
    return store_audit_append(c->tx, &change.event, NULL);
}

static int rotate(struct call *c)
{
    int64_t overlap_s;
    char name[64];
    int r;

    if (!span_copy(c->req->params[0], name, sizeof(name)))
        return call_not_found(c);
    /* What was hashed under the key before must be made anew by then; a signature is, by itself. */
    overlap_s = strcmp(name, "state") == 0 ? DAY_S : 30 * DAY_S;
    r = body_overlap(c, ROTATION_OVERLAP_MAX_S, &overlap_s);
    if (!r)
        r = answer_one(c, span_str(name));
    buf_clear(&c->res->body);
    if (!r && !rotation_is_purpose(span_str(name)))
        r = call_refuse(c, REASON_CONFLICT, "This key is not rotated.");
    if (!r && !c->api->options.keys)
        r = call_refuse(c, REASON_NOT_READY, "There are no keys here.");
    if (!r)
        r = rotation_begin(c->tx, c->api->options.keys, name, overlap_s * 1000);
    if (r == ROTATION_E_BUSY)
        return call_refuse(c, REASON_CONFLICT, "The rotation before has not ended yet.");
    if (!r)
        r = audit(c, name);
    if (!r)
        r = answer_one(c, span_str(name));
    return r ? r : call_commit(c);
}

void on_key_list(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_READ, list);
}

void on_key_get(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_READ, get);
}

void on_key_rotate(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_WRITE, rotate);
}
