#include "controlplane/domain/kind.h"
#include "controlplane/domain/right.h"
#include "controlplane/routes/api_internal.h"
#include "controlplane/routes/handlers.h"
#include "controlplane/routes/page.h"
#include "controlplane/routes/record.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The table of routes: every kind of object gets its rows from one pattern; the rest are
 * rows of their own.  Who may comes from the domain's table of rights. */
#define BODY_MAX ((size_t)1 << 20)
#define CONFIG_MAX ((size_t)64 << 20)
#define WRITE (ROUTE_LONG_POLL)
#define SIGN_IN (ROUTE_PUBLIC | ROUTE_LONG_POLL)

struct pattern {
    const char *verb, *method, *suffix; /* operation "users.VERB", path "/api/v1/usersSUFFIX" */
    unsigned needs;                     /* flags of the kind */
    unsigned flags;
    size_t body_max;
    const char *query;
    route_fn handler;
};

#define LIST_QUERY "limit cursor sort q fields names count name created_after created_before"
#define BATCH_QUERY "q name created_after created_before expected dry_run revision break_expectations"
#define RECORD_QUERY "limit cursor q fields count created_after created_before"

static const struct pattern object_patterns[] = {
    { "list", "GET", "", 0, 0, 0, LIST_QUERY, on_object_list },
    { "create", "POST", "", KIND_CREATE, WRITE | ROUTE_IDEMPOTENT, BODY_MAX, "dry_run revision break_expectations wait",
      on_object_create },
    { "get", "GET", "/{id}", 0, 0, 0, "fields names", on_object_get },
    { "batch", "POST", "/batch", KIND_DELETE, 0, BODY_MAX, BATCH_QUERY, on_batch },
    { "update", "PATCH", "/{id}", KIND_UPDATE, WRITE, BODY_MAX, "dry_run revision break_expectations wait", on_object_update },
    { "delete", "DELETE", "/{id}", KIND_DELETE, WRITE, 0, "cascade dry_run revision break_expectations wait",
      on_object_delete },
};

static const struct pattern member_patterns[] = {
    { "members.list", "GET", "/{id}/members", 0, 0, 0, "limit cursor", on_member_list },
    { "members.get", "GET", "/{id}/members/{member}", 0, 0, 0, "", on_member_get },
    { "members.put", "PUT", "/{id}/members/{member}", 0, WRITE | ROUTE_OPTIONAL_BODY, BODY_MAX,
      "dry_run revision break_expectations wait", on_member_put },
    { "members.delete", "DELETE", "/{id}/members/{member}", 0, WRITE, 0, "dry_run revision break_expectations wait",
      on_member_delete },
};

static const struct pattern record_patterns[] = {
    { "list", "GET", "", 0, 0, 0, RECORD_QUERY, on_record_list },
    { "get", "GET", "/{id}", 0, 0, 0, "", on_record_get },
};

static const struct single {
    const char *operation, *method, *path, *scope;
    unsigned flags;
    size_t body_max;
    const char *query;
    route_fn handler;
    const char *kind;                   /* of the objects that it is about; NULL: of none */
} singles[] = {
    { "streams.delete", "DELETE", "/api/v1/streams/{id}", "streams:write", WRITE, 0, "wait",
      on_stream_cut },
    { "diagnostics.create", "POST", "/api/v1/diagnostics", "diagnostics:write", ROUTE_IDEMPOTENT, 16 << 10, "",
      on_diagnostic_create },
    { "diagnostics.get", "GET", "/api/v1/diagnostics/{id}", "diagnostics:read", ROUTE_LONG_POLL, 0, "finished",
      on_diagnostic_get },
    { "breakers.list", "GET", "/api/v1/breakers", "breakers:read", 0, 0, "limit cursor agent_group host",
      on_breaker_list },
    { "breakers.get", "GET", "/api/v1/breakers/{id}", "breakers:read", 0, 0, "", on_breaker_get },
    { "breakers.delete", "DELETE", "/api/v1/breakers/{id}", "breakers:write", WRITE, 0, "wait",
      on_breaker_reset },
    { "streams.cut", "POST", "/api/v1/streams/cut", "streams:write", WRITE, 0,
      "user agent destination_profile grant host expected dry_run revision break_expectations wait", on_streams_cut },
    { "audit-events.verify", "GET", "/api/v1/audit-events/verify", "audit-events:read", 0, 0, "",
      on_audit_verify },
    { "audit-events.revert", "POST", "/api/v1/audit-events/{id}/revert", "audit-events:write", WRITE, 0,
      "dry_run revision break_expectations wait", on_audit_revert },
    { "config.get", "GET", "/api/v1/config", "config:read", 0, 0, "owner", on_config_get },
    { "config.put", "PUT", "/api/v1/config", "config:write", WRITE, CONFIG_MAX,
      "owner prune max_deletes take_over cascade dry_run revision break_expectations wait", on_config_put },
    { "login-sessions.create", "POST", "/api/v1/login-sessions", NULL, ROUTE_PUBLIC | ROUTE_SLOW,
      64 << 10, "", on_login, "login-session" },
    { "api-tokens.rotate", "POST", "/api/v1/api-tokens/{id}/rotate", "api-tokens:write",
      ROUTE_OPTIONAL_BODY, BODY_MAX, "dry_run revision break_expectations", on_token_rotate, "api-token" },
    { "keys.list", "GET", "/api/v1/keys", "keys:read", 0, 0, "", on_key_list },
    { "keys.get", "GET", "/api/v1/keys/{id}", "keys:read", 0, 0, "", on_key_get },
    { "keys.rotate", "POST", "/api/v1/keys/{id}/rotate", "keys:write", ROUTE_OPTIONAL_BODY, 4 << 10, "",
      on_key_rotate },
    { "users.totp.create", "POST", "/api/v1/users/{id}/totp", "totp:write", ROUTE_OPTIONAL_BODY, 4 << 10, "",
      on_totp_begin, "user" },
    { "users.totp.confirm", "POST", "/api/v1/users/{id}/totp/confirm", "totp:write", 0, 4 << 10, "",
      on_totp_confirm, "user" },
    { "users.totp.delete", "DELETE", "/api/v1/users/{id}/totp", "users:write", 0, 0, "", on_totp_reset, "user" },
    { "identity-providers.log-in", "GET", "/api/v1/identity-providers/{id}/log-in", NULL, SIGN_IN, 0,
      "return_to port challenge", on_sign_in, "identity-provider" },
    { "identity-providers.callback", "GET", "/api/v1/identity-providers/{id}/callback", NULL,
      SIGN_IN | ROUTE_ANY_QUERY, 0, "code state iss error", on_sign_in_callback, "identity-provider" },
    { "identity-providers.redeem", "POST", "/api/v1/identity-providers/{id}/redeem", NULL, ROUTE_PUBLIC,
      64 << 10, "", on_sign_in_redeem, "login-session" },
    { "access.explain", "GET", "/api/v1/access/explain", "access:read", 0, 0,
      "user host port source at", on_explain },
    { "access.effective", "GET", "/api/v1/access/effective", "access:read", 0, 0, "user host port",
      on_effective },
    { "me.get", "GET", "/api/v1/me", NULL, 0, 0, "", on_me },
    { "revisions.get", "GET", "/api/v1/revisions/{revision}", NULL, ROUTE_LONG_POLL, 0, "wait",
      on_revision },
    { "operations.items", "GET", "/api/v1/operations/{id}/items", "operations:read", 0, 0,
      "limit cursor q fields count created_after created_before outcome", on_operation_items },
    { "events.listen", "GET", "/api/v1/events", NULL, 0, 0, "topics ids seconds", on_events },
    { "statistics.get", "GET", "/api/v1/statistics", "statistics:read", 0, 0,
      "from to step by key top order", on_statistics },
    { "status.get", "GET", "/api/v1/status", "status:read", 0, 0, "", on_status },
};

/* ---- building ---- */
struct table {
    struct api *api;
    struct route *rows;
    size_t count, room;
    int error;
    struct route nowhere;
};

static char *text_of(struct table *t, const char *format, ...) PRINTF_LIKE(2, 3);
static char *text_of(struct table *t, const char *format, ...)
{
    char *text = NULL;
    va_list args;

    va_start(args, format);
    if (vasprintf(&text, format, args) < 0) {
        text = NULL;
        t->error = -ENOMEM;
    }
    va_end(args);
    return text;
}

/* After an error rows are written to a place that is never read. */
static struct route *next_row(struct table *t)
{
    if (t->count == t->room) {
        size_t room = t->room ? t->room * 2 : 64;
        struct route *rows = realloc(t->rows, room * sizeof(*rows));

        if (!rows) {
            t->error = -ENOMEM;
            return &t->nowhere;
        }
        t->rows = rows;
        t->room = room;
    }
    t->rows[t->count] = (struct route){ .ctx = t->api, .topic = API_TOPIC_APPLIED };
    return &t->rows[t->count++];
}

static unsigned roles_of(struct table *t, const char *operation)
{
    const struct right *right = right_find(span_str(operation));

    if (!right)
        t->error = -EINVAL;             /* a route without a row of rights: served to nobody */
    return right ? right->any | right->own : 0;
}

/* "status status.ne user user.ne" behind what every list takes. */
static char *query_of(struct table *t, const struct pattern *p, const struct kind *kind,
                      const struct record_source *source)
{
    AUTO(buf_deinit) struct buf names;
    const struct field *f;

    buf_init_heap(&names, 2048);
    buf_put_str(&names, p->query);
    for (size_t i = 0; kind && (!strcmp(p->verb, "list") || !strcmp(p->verb, "batch")) && (f = kind_field_at(kind, i)); i++) {
        if (f->flags & FIELD_FILTER)
            buf_printf(&names, " %s %s.ne", f->name, f->name);
    }
    for (size_t i = 0; source && !strcmp(p->verb, "list") && i < source->filter_count; i++)
        buf_printf(&names, " %s", source->filters[i].name);
    return text_of(t, "%s", buf_text(&names));
}

static void add_pattern(struct table *t, const struct pattern *p, const char *plural,
                        const struct kind *kind, const struct record_source *source)
{
    struct route *row = next_row(t);
    bool is_slow = kind && kind->id == KIND_USER && p->body_max;

    row->method = p->method;
    row->path = text_of(t, "/api/v1/%s%s", plural, p->suffix);
    row->operation = text_of(t, "%s.%s", plural, p->verb);
    row->scope = text_of(t, "%s:%s", plural, !strcmp(p->method, "GET") ? "read" : "write");
    row->query = query_of(t, p, kind, source);
    row->flags = p->flags | (is_slow ? ROUTE_SLOW : 0);        /* a password may be hashed */
    row->body_max = p->body_max;
    row->handler = p->handler;
    row->data = kind;
    row->roles = row->operation ? roles_of(t, row->operation) : 0;
}

static void add_kinds(struct table *t)
{
    for (enum kind_id id = 0; id < KIND_COUNT; id++) {
        const struct kind *kind = kind_at(id);

        for (size_t i = 0; i < ARRAY_LEN(object_patterns); i++) {
            if ((kind->flags & object_patterns[i].needs) == object_patterns[i].needs)
                add_pattern(t, &object_patterns[i], kind->plural, kind, NULL);
        }
        for (size_t i = 0; kind->relation && i < ARRAY_LEN(member_patterns); i++)
            add_pattern(t, &member_patterns[i], kind->plural, kind, NULL);
    }
}

static void add_records(struct table *t)
{
    const struct record_source *source;

    for (size_t s = 0; (source = record_source_at(s)); s++) {
        for (size_t i = 0; i < (source->has_own_get ? 1 : ARRAY_LEN(record_patterns)); i++)
            add_pattern(t, &record_patterns[i], source->plural, NULL, source);
    }
}

static void add_singles(struct table *t)
{
    for (size_t i = 0; i < ARRAY_LEN(singles); i++) {
        const struct single *s = &singles[i];
        struct route *row = next_row(t);

        row->method = s->method;
        row->path = text_of(t, "%s", s->path);
        row->operation = text_of(t, "%s", s->operation);
        row->scope = s->scope ? text_of(t, "%s", s->scope) : NULL;
        row->query = text_of(t, "%s", s->query);
        row->flags = s->flags;
        row->body_max = s->body_max;
        row->handler = s->handler;
        row->roles = roles_of(t, s->operation);
        row->data = s->kind ? kind_by_name(span_str(s->kind)) : NULL;
        if ((s->flags & SIGN_IN) == SIGN_IN)
            row->topic = API_TOPIC_SIGN_IN;
    }
}

static void add_pages(struct table *t)
{
    const struct page *page;

    for (size_t i = 0; (page = page_at(i)); i++) {
        struct route *row = next_row(t);

        row->method = "GET";
        row->path = text_of(t, "%s", page->path);
        row->operation = text_of(t, "%s", page->operation);
        row->query = text_of(t, "%s", "");
        row->flags = ROUTE_PUBLIC;
        row->handler = on_page;
        row->data = page;
    }
}

int api_make_routes(struct api *api)
{
    struct table t = { .api = api };

    add_kinds(&t);
    add_records(&t);
    add_singles(&t);
    add_pages(&t);
    api->own_count = t.count;
    for (size_t i = 0; i < api->options.extra_count; i++)
        *next_row(&t) = api->options.extra[i];
    api->routes = t.rows;
    api->route_count = t.count;
    return t.error;
}
