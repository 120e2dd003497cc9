#include "controlplane/routes/call.h"
#include "controlplane/routes/effect.h"
#include "controlplane/routes/enforce.h"
#include <stdio.h>

_Static_assert((int)ROLE_ADMIN == (int)ROLE_BIT_ADMIN
                   && (int)ROLE_OPERATOR == (int)ROLE_BIT_OPERATOR
                   && (int)ROLE_AUDITOR == (int)ROLE_BIT_AUDITOR
                   && (int)ROLE_USER == (int)ROLE_BIT_USER,
               "the domain and http count roles alike");

int call_refuse(struct call *c, enum reason reason, const char *format, ...)
{
    char detail[sizeof_field(struct problem, detail)];
    va_list args;

    va_start(args, format);
    vsnprintf(detail, sizeof(detail), format, args);
    va_end(args);
    response_problem(c->res, reason, "%s", detail);
    return CALL_E_ANSWERED;
}

int call_refuse_at(struct call *c, enum reason reason, const char *pointer, const char *message)
{
    response_problem(c->res, reason, "%s%s%s", pointer, pointer[0] ? ": " : "", message);
    problem_add(&c->res->problem, pointer, message);
    return CALL_E_ANSWERED;
}

int call_not_found(struct call *c)
{
    return call_refuse(c, REASON_NOT_FOUND, "%s", reason_what(REASON_NOT_FOUND));
}

bool call_sees_all(const struct call *c)
{
    return (c->req->principal.roles & c->right->any) != 0;
}

bool call_is_own(const struct call *c, struct span owner)
{
    return owner.n && span_eq(owner, span_str(c->req->principal.id));
}

struct change call_change(struct call *c)
{
    const struct principal *p = &c->req->principal;
    struct change change = { .tx = c->tx };

    change.event = (struct store_audit){
        .actor_kind = p->kind,
        .actor_id = span_str(p->id),
        .actor_name = span_str(p->name),
        .token_id = span_str(p->token_id),
        .address = span_str(addr_format(&c->req->peer, c->address)),
        .action = c->req->route->operation,
        .trace_id = c->req->trace_id,
    };
    return change;
}

int call_find(struct call *c, enum kind_id kind, struct span ref, struct store_object **ret_object)
{
    const char *name = kind_at(kind)->name;
    struct ulid id;

    if (ulid_parse(ref, &id))
        return store_object_get(c->tx, name, &id, ret_object);
    return store_object_find(c->tx, name, ref, ret_object);
}

int call_find_ref(struct call *c, enum kind_id kind, struct span ref,
                  struct store_object **ret_object)
{
    int r = call_find(c, kind, ref, ret_object);

    if (r != STORE_E_NOT_FOUND || kind != KIND_USER)
        return r;
    return call_find(c, KIND_SERVICE_ACCOUNT, ref, ret_object);
}

int call_path_object(struct call *c, size_t param, struct store_object **ret_object)
{
    int r = call_find(c, c->kind->id, c->req->params[param], ret_object);

    return r == STORE_E_NOT_FOUND ? call_not_found(c) : r;
}

int call_flag(struct call *c, const char *name, bool *ret_is_set)
{
    char pointer[64];
    struct span value;

    *ret_is_set = false;
    if (!request_query(c->req, name, &value))
        return 0;
    *ret_is_set = span_eq(value, SPAN("true"));
    if (*ret_is_set || span_eq(value, SPAN("false")))
        return 0;
    snprintf(pointer, sizeof(pointer), "?%s", name);
    return call_refuse_at(c, REASON_INVALID, pointer, "must be true or false");
}

/* What the store's named conditions mean to a caller. */
static void answer_store(struct response *res, int r)
{
    static const struct {
        int condition;
        enum reason reason;
        const char *detail;
    } rows[] = {
        { STORE_E_NOT_FOUND, REASON_NOT_FOUND, NULL },
        { STORE_E_EXISTS, REASON_CONFLICT,
          "An object of this kind with this name exists already." },
        { STORE_E_STALE, REASON_PRECONDITION_FAILED, NULL },
        { STORE_E_IN_USE, REASON_IN_USE, NULL },
        { STORE_E_NO_REF, REASON_CONFLICT, "It refers to something that does not exist." },
        { STORE_E_BUSY, REASON_OVERLOAD, NULL },
        { STORE_E_BAD_CURSOR, REASON_CONFLICT,
          "The cursor was not made by this list with these filters." },
        { STORE_E_BAD_FILTER, REASON_INVALID, "This list cannot be filtered or sorted so." },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].condition == r) {
            response_problem(res, rows[i].reason, "%s",
                             rows[i].detail ? rows[i].detail : reason_what(rows[i].reason));
            return;
        }
    }
    response_fail(res, r);
}

static int read_modes(struct call *c)
{
    struct span wait;
    int r = call_flag(c, "dry_run", &c->is_dry);

    if (!r)
        r = call_flag(c, "break_expectations", &c->may_break);
    if (r || !request_query(c->req, "wait", &wait) || span_eq(wait, SPAN("applied")))
        return r;
    return call_refuse_at(c, REASON_INVALID, "?wait", "must be applied");
}

/* The write names the revision of its dry run: what was shown is what happens. */
static int check_revision(struct call *c)
{
    struct store_position position;
    struct span text;
    uint64_t wanted;
    int r;

    if (!request_query(c->req, "revision", &text))
        return 0;
    if (!span_to_u64(text, INT64_MAX, &wanted))
        return call_refuse_at(c, REASON_INVALID, "?revision", "must be a whole number, and not too large");
    r = store_position(c->tx, &position);
    if (r || !wanted || position.revision == wanted)
        return r;
    return call_refuse(c, REASON_EFFECT_CHANGED, "The state is at revision %llu by now.",
                       (unsigned long long)position.revision);
}

static int begin(struct call *c, enum store_mode mode)
{
    int r = store_begin(c->api->options.store, mode, &c->tx);

    if (!r && mode == STORE_WRITE)
        r = check_revision(c);
    if (!r && c->is_dry)
        r = store_position(c->tx, &c->position);
    return r || mode == STORE_READ || !c->req->principal.id[0] ? r : effect_begin(c);
}

/* Before the transaction, since it takes long.  A body that is no good is refused later (guard.c). */
static int hash_password(struct call *c)
{
    AUTO(json_value_freep) struct json_value *body = NULL;
    const struct password_cost cost = PASSWORD_COST_DEFAULT;
    struct json_error error;
    struct span password;

    if (!c->kind || c->kind->id != KIND_USER || json_parse(c->req->body, &body, &error))
        return 0;
    if (json_get_str(body, "password_hash", &password) && password_is_bcrypt(password))
        (void)span_copy(password, c->password, sizeof(c->password));
    if (!json_get_str(body, "password", &password) || password.n > PASSWORD_MAX)
        return 0;
    return password.n ? password_hash(password, &cost, c->password) : 0;
}

void call_run(const struct route *route, struct request *req, struct response *res,
              enum store_mode mode, call_fn fn)
{
    struct call c = {
        .api = route->ctx,
        .kind = route->data,
        .right = right_find(span_str(route->operation)),
        .req = req,
        .res = res,
    };
    int r;

    if (call_resume(&c))
        return;
    r = read_modes(&c);
    if (!r)
        r = hash_password(&c);
    if (!r)
        r = begin(&c, mode);
    if (!r)
        r = fn(&c);
    if (c.tx)                                   /* neither committed nor over */
        store_rollback(c.tx);
    effect_free(c.effect);
    if (r && r != CALL_E_ANSWERED)
        answer_store(res, r);
}

int call_settle(struct call *c)
{
    int r = c->tx ? enforce_check(c) : 0;       /* none: it was settled, and a dry run is over */

    return r ? r : effect_finish(c);
}

int call_commit(struct call *c)
{
    int r = call_settle(c);

    if (!r)
        r = effect_admit(c);
    if (!r && !c->is_dry)
        r = store_commit(&c->tx, &c->position);
    if (!r && !c->is_dry)
        response_header(c->res, "Adit-Revision", "%llu", (unsigned long long)c->position.revision);
    return r;
}

static bool is_applied(struct call *c, const struct store_position *position)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    AUTO(live_deinit) struct live live = { 0 };

    return !store_begin(c->api->options.store, STORE_READ, &tx) && !live_read(tx, &live) &&
           live_has_applied(&live, position);
}

static void accept_only(struct response *res)
{
    if (res->status < 300)
        res->status = 202;
}

static void park(struct call *c, const struct wait_for *what)
{
    int64_t left_ms = what->deadline_ms - (int64_t)store_now_ms(c->api->options.store);

    if (left_ms <= 0 || !waits_keep(&c->api->waits, c->req, c->res, what))
        accept_only(c->res);
    else
        response_park(c->res, (unsigned)left_ms);
}

void call_wait(struct call *c)
{
    int64_t now_ms = (int64_t)store_now_ms(c->api->options.store);
    struct span wait;

    if (c->is_dry || !request_query(c->req, "wait", &wait) || is_applied(c, &c->position))
        return;
    park(c, &(struct wait_for){ c->position, now_ms + WAIT_MS });
}

/* A parked answer comes back: as it was when the relays run it, as 202 when time is over,
 * or it is parked again. */
bool call_resume(struct call *c)
{
    struct wait_for what;

    if (!c->req->is_woken && !c->req->is_expired)
        return false;
    if (!waits_take(&c->api->waits, c->req, c->res, &what))
        return false;
    c->position = what.position;
    if (is_applied(c, &what.position))
        return true;
    if (c->req->is_expired)
        accept_only(c->res);
    else
        park(c, &what);
    return true;
}
