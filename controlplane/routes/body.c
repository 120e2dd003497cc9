#include "controlplane/routes/body.h"
#include "controlplane/routes/doc.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CANONICAL_MAX 4096

struct reading {
    struct call *c;
    struct body *body;
    struct json_writer w;
    bool is_invalid, is_conflict;
    int error;                          /* of the store or memory: ends it all */
};

static void invalid(struct reading *r, const char *pointer, const char *message)
{
    r->is_invalid = true;
    problem_add(&r->c->res->problem, pointer, message);
}

static void conflict(struct reading *r, const char *pointer, const char *message)
{
    r->is_conflict = true;
    problem_add(&r->c->res->problem, pointer, message);
}

struct pointer {
    char text[128];
};

static const char *point(struct pointer *p, const char *prefix, struct span part)
{
    snprintf(p->text, sizeof(p->text), "%.60s/%.*s", prefix, (int)(part.n < 60 ? part.n : 60),
             part.p);
    return p->text;
}

static const char *point_item(struct pointer *p, const char *prefix, size_t i)
{
    snprintf(p->text, sizeof(p->text), "%.60s/%zu", prefix, i);
    return p->text;
}

/* ---- single values ---- */
static void read_ref(struct reading *r, const struct field *f, const char *pointer, struct span ref)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    struct body *body = r->body;
    int rc = call_find_ref(r->c, f->ref, ref, &object);

    if (rc == STORE_E_NOT_FOUND) {
        conflict(r, pointer, "there is no such object");
        return;
    }
    if (rc || body->ref_count == BODY_REFS_MAX) {
        r->error = rc ? rc : -ENOSPC;
        return;
    }
    body->refs[body->ref_count++] = (struct change_ref){ f->name, object->id };
    json_put_str(&r->w, f->name, ulid_span(&object->id));
}

/* `key` NULL: an item of an array. */
static void read_text(struct reading *r, const struct field *f, const char *pointer,
                      const char *key, const struct json_value *v)
{
    AUTO(buf_deinit) struct buf canonical;
    enum check_result result;
    const char *message;
    struct span text;

    buf_init_heap(&canonical, CANONICAL_MAX);
    if (!json_as_str(v, &text)) {
        invalid(r, pointer, "must be text");
        return;
    }
    result = check_text(f->leaf, &f->limits, text, &canonical, &message);
    if (result == CHECK_OK && buf_error(&canonical))
        r->error = buf_error(&canonical);
    else if (result == CHECK_INVALID)
        invalid(r, pointer, message);
    else if (result == CHECK_CONFLICT)
        conflict(r, pointer, message);
    else if (f->leaf == LEAF_REF)
        read_ref(r, f, pointer, buf_span(&canonical));
    else
        json_put_str(&r->w, key, buf_span(&canonical));
}

static void read_int(struct reading *r, const struct field *f, const char *pointer,
                     const struct json_value *v)
{
    char message[96];
    int64_t value;

    if (json_as_int(v, &value) && value >= f->limits.min && value <= f->limits.max) {
        json_put_int(&r->w, f->name, value);
        return;
    }
    snprintf(message, sizeof(message), "must be a whole number from %lld to %lld",
             (long long)f->limits.min, (long long)f->limits.max);
    invalid(r, pointer, message);
}

static void read_bool(struct reading *r, const struct field *f, const char *pointer,
                      const struct json_value *object)
{
    bool value;

    if (json_get_bool(object, f->name, &value))
        json_put_bool(&r->w, f->name, value);
    else
        invalid(r, pointer, "must be true or false");
}

static void read_one(struct reading *r, const struct field *f, const char *pointer,
                     const struct json_value *object)
{
    const struct json_value *v = json_get(object, f->name);

    if (f->leaf == LEAF_INT)
        read_int(r, f, pointer, v);
    else if (f->leaf == LEAF_BOOL)
        read_bool(r, f, pointer, object);
    else
        read_text(r, f, pointer, f->name, v);
}

/* ---- arrays, maps ---- */
static bool has_count(struct reading *r, const struct field *f, const char *pointer,
                      const struct json_value *v, enum json_kind kind)
{
    char message[96];
    size_t count = json_count(v);

    if (json_kind_of(v) == kind && count >= f->items_min && count <= f->items_max)
        return true;
    snprintf(message, sizeof(message), "must be %s of %zu to %zu",
             kind == JSON_IS_ARRAY ? "an array" : "an object", f->items_min, f->items_max);
    invalid(r, pointer, message);
    return false;
}

static bool is_twice(const struct json_value *array, size_t i)
{
    struct span one, other;

    for (size_t k = 0; k < i; k++) {
        if (json_as_str(json_at(array, k), &one) && json_as_str(json_at(array, i), &other)
            && span_eq(one, other))
            return true;
    }
    return false;
}

static void read_list(struct reading *r, const struct field *f, const char *pointer,
                      const struct json_value *v)
{
    if (!has_count(r, f, pointer, v, JSON_IS_ARRAY))
        return;
    json_open_array(&r->w, f->name);
    for (size_t i = 0; i < json_count(v); i++) {
        struct pointer p;
        const char *at = point_item(&p, pointer, i);

        if ((f->flags & FIELD_DISTINCT) && is_twice(v, i))
            invalid(r, at, "is there twice");
        read_text(r, f, at, NULL, json_at(v, i));
    }
    json_close_array(&r->w);
}

static void read_map(struct reading *r, const struct field *f, const char *pointer,
                     const struct json_value *v)
{
    if (!has_count(r, f, pointer, v, JSON_IS_OBJECT))
        return;
    json_open_object(&r->w, f->name);
    for (size_t i = 0; i < json_count(v); i++) {
        struct span key;
        const struct json_value *value = json_member(v, i, &key);
        struct pointer p;
        const char *at = point(&p, pointer, key);
        char name[64];

        if (!check_label_key(key) || !span_copy(key, name, sizeof(name)))
            invalid(r, at,
                    "a label's key has 1 to 63 of a-z, 0-9, ., _ and -, a letter or digit first");
        else
            read_text(r, f, at, name, value);
    }
    json_close_object(&r->w);
}

static void read_field(struct reading *r, const struct field *f, const char *prefix,
                       const struct json_value *object);

static void refuse_unknown(struct reading *r, const struct json_value *object, const char *prefix,
                           const struct field *fields, size_t count)
{
    for (size_t i = 0; i < json_count(object); i++) {
        bool is_known = false;
        struct pointer p;
        struct span key;

        json_member(object, i, &key);
        for (size_t k = 0; k < count; k++)
            is_known |= span_eq(key, span_str(fields[k].name));
        if (!is_known)
            invalid(r, point(&p, prefix, key), "is not known here");
    }
}

static void read_rows(struct reading *r, const struct field *f, const char *pointer,
                      const struct json_value *v)
{
    if (!has_count(r, f, pointer, v, JSON_IS_ARRAY))
        return;
    json_open_array(&r->w, f->name);
    for (size_t i = 0; i < json_count(v); i++) {
        const struct json_value *row = json_at(v, i);
        struct pointer p;
        const char *at = point_item(&p, pointer, i);

        if (json_kind_of(row) != JSON_IS_OBJECT) {
            invalid(r, at, "must be an object");
            continue;
        }
        json_open_object(&r->w, NULL);
        refuse_unknown(r, row, at, f->rows, f->row_count);
        for (size_t k = 0; k < f->row_count; k++)
            read_field(r, &f->rows[k], at, row);
        json_close_object(&r->w);
    }
    json_close_array(&r->w);
}

/* ---- fields ---- */
static void read_field(struct reading *r, const struct field *f, const char *prefix,
                       const struct json_value *object)
{
    const struct json_value *v = json_get(object, f->name);
    struct pointer p;
    const char *pointer = point(&p, prefix, span_str(f->name));

    if (!v) {
        if (f->flags & FIELD_REQUIRED)
            invalid(r, pointer, "is required");
        else if (f->initial)
            json_put_raw(&r->w, f->name, span_str(f->initial));
        return;
    }
    switch (f->shape) {
    case SHAPE_ONE:
        read_one(r, f, pointer, object);
        return;
    case SHAPE_LIST:
        read_list(r, f, pointer, v);
        return;
    case SHAPE_MAP:
        read_map(r, f, pointer, v);
        return;
    case SHAPE_ROWS:
        read_rows(r, f, pointer, v);
        return;
    }
}

static size_t given_of(const struct json_value *object, const char *words)
{
    struct span rest = span_str(words), word;
    size_t given = 0;

    while (span_cut(&rest, ' ', &word)) {
        char name[64];

        if (span_copy(word, name, sizeof(name)) && json_get(object, name))
            given++;
    }
    return given;
}

/* The schema says so for new objects; after a patch only we can tell. */
static void check_choices(struct reading *r, const struct json_value *object, bool is_new)
{
    const struct kind *kind = r->c->kind;
    char message[160];

    for (size_t i = 0; i < KIND_CHOICES_MAX && kind->exactly_one[i]; i++) {
        if (given_of(object, kind->exactly_one[i]) == 1)
            continue;
        snprintf(message, sizeof(message), "exactly one is needed of: %s", kind->exactly_one[i]);
        (is_new ? invalid : conflict)(r, "", message);
    }
    if (kind->at_most_one && given_of(object, kind->at_most_one) > 1) {
        snprintf(message, sizeof(message), "at most one may be given of: %s", kind->at_most_one);
        (is_new ? invalid : conflict)(r, "", message);
    }
}

static void read_secret(struct reading *r, const struct field *f)
{
    const struct json_value *v = json_get(r->body->input, f->name);
    AUTO(buf_deinit) struct buf scratch;
    const char *message;
    char text[80];
    struct pointer p;

    buf_init_heap(&scratch, CANONICAL_MAX);
    if (!v)
        return;
    r->body->has_secret = true;
    if (json_kind_of(v) == JSON_IS_NULL)        /* a patch takes it away */
        return;
    snprintf(text, sizeof(text), "must be text of %lld to %lld characters", (long long)f->limits.min,
             (long long)f->limits.max);
    if (!json_as_str(v, &r->body->secret) ||
        check_text(f->leaf, &f->limits, r->body->secret, &scratch, &message) != CHECK_OK)
        invalid(r, point(&p, "", span_str(f->name)), text);
    secret_wipe(scratch.data, scratch.len);
}

/* All fields of the kind out of `object`, which has no member that is not known. */
static void read_fields(struct reading *r, const struct json_value *object)
{
    const struct field *f;

    json_begin(&r->w, &r->body->text);
    json_open_object(&r->w, NULL);
    for (size_t i = 0; (f = kind_field_at(r->c->kind, i)); i++) {
        if (f->flags & FIELD_SECRET)
            read_secret(r, f);
        else
            read_field(r, f, "", object);
    }
    json_close_object(&r->w);
}

/* What came of it: the answer, or the document parsed back. */
static int conclude(struct reading *r)
{
    struct json_error error;

    if (r->error)
        return r->error;
    if (r->is_invalid || r->is_conflict) {
        const struct problem_error *first = &r->c->res->problem.errors[0];

        response_problem(r->c->res, r->is_invalid ? REASON_INVALID : REASON_CONFLICT, "%s%s%s",
                         first->pointer, first->pointer[0] ? ": " : "", first->message);
        return CALL_E_ANSWERED;
    }
    if (buf_error(&r->body->text))
        return buf_error(&r->body->text);
    return json_parse(buf_span(&r->body->text), &r->body->doc, &error);
}

int body_parse(struct call *c, struct json_value **ret_value)
{
    struct json_value *value = NULL;
    struct json_error error = { 0 };
    int r = json_parse(c->req->body, &value, &error);

    if (r == -ENOMEM)
        return r;
    if (r)
        return call_refuse(c, REASON_BAD_REQUEST, "The body is not JSON: %s", error.message);
    if (json_kind_of(value) != JSON_IS_OBJECT) {
        json_value_free(value);
        return call_refuse_at(c, REASON_INVALID, "", "must be an object");
    }
    *ret_value = value;
    return 0;
}

/* Who may not be named by a client: what we set, what never changes, what nobody knows. */
static void refuse_members(struct reading *r, unsigned refused, bool takes_name)
{
    const struct json_value *input = r->body->input;

    for (size_t i = 0; i < json_count(input); i++) {
        const struct field *f;
        struct pointer p;
        const char *at;
        struct span key;

        json_member(input, i, &key);
        f = kind_field(r->c->kind, key);
        at = point(&p, "", key);
        if (f && (f->flags & refused))
            invalid(r, at, f->flags & FIELD_SERVER ? "is set by the server" : "cannot be changed");
        else if (!f && !(takes_name && span_eq(key, SPAN("name"))))
            invalid(r, at, span_eq(key, SPAN("name")) ? "cannot be changed" : "is not known here");
    }
}

static void read_name(struct reading *r)
{
    const struct json_value *v = json_get(r->body->input, "name");
    struct check_limits none = { 0 };
    unsigned char scratch[64];
    const char *message;
    struct buf out;

    buf_init_fixed(&out, scratch, sizeof(scratch));
    if (!v && (r->c->kind->flags & KIND_NAME_OPTIONAL))
        return;
    if (!v)
        invalid(r, "/name", "is required");
    else if (!json_as_str(v, &r->body->name) ||
             check_text(LEAF_NAME, &none, r->body->name, &out, &message) != CHECK_OK)
        invalid(r, "/name", "must be 1 to 63 of a-z, 0-9 and -");
}

static void start(struct reading *r, struct call *c, struct body *body)
{
    *body = (struct body){ 0 };
    buf_init_heap(&body->text, STORE_DOC_MAX);
    *r = (struct reading){ .c = c, .body = body };
}

int body_create(struct call *c, struct body *ret_body)
{
    struct reading r;
    int rc;

    start(&r, c, ret_body);
    rc = body_parse(c, &ret_body->input);
    if (rc)
        return rc;
    refuse_members(&r, FIELD_SERVER, true);
    read_name(&r);
    check_choices(&r, ret_body->input, true);
    read_fields(&r, ret_body->input);
    return conclude(&r);
}

/* Null takes a field away only where the field may be absent or falls back; keys of labels
 * must be keys even when they go. */
static void check_patch(struct reading *r)
{
    const struct json_value *input = r->body->input;
    const struct field *f;

    refuse_members(r, FIELD_SERVER | FIELD_IMMUTABLE, false);
    for (size_t i = 0; (f = kind_field_at(r->c->kind, i)); i++) {
        const struct json_value *v = json_get(input, f->name);
        bool needs_value = (f->flags & FIELD_REQUIRED) || (f->initial && f->shape == SHAPE_ONE);
        struct pointer p;
        const char *at = point(&p, "", span_str(f->name));

        if (v && json_kind_of(v) == JSON_IS_NULL && needs_value)
            invalid(r, at, "cannot be taken away");
        if (!v || f->shape != SHAPE_MAP || json_kind_of(v) != JSON_IS_OBJECT)
            continue;
        has_count(r, f, at, v, JSON_IS_OBJECT);
        for (size_t k = 0; k < json_count(v); k++) {
            struct span key;

            json_member(v, k, &key);
            if (!check_label_key(key))
                invalid(r, at, "has a key that no label can have");
        }
    }
}

int body_update(struct call *c, const struct store_object *object, struct body *ret_body)
{
    AUTO(json_value_freep) struct json_value *before = NULL, *merged = NULL;
    struct json_error error;
    struct reading r;
    int rc;

    start(&r, c, ret_body);
    rc = body_parse(c, &ret_body->input);
    if (!rc)
        rc = json_parse(object->doc, &before, &error);
    if (!rc)
        rc = json_merge(before, ret_body->input, &merged);
    if (rc)
        return rc;
    check_patch(&r);
    check_choices(&r, merged, false);
    read_fields(&r, merged);
    return conclude(&r);
}

int body_member(struct call *c, struct body *ret_body)
{
    struct json_error error;
    struct reading r;
    int rc;

    start(&r, c, ret_body);
    rc = c->req->body.n ? body_parse(c, &ret_body->input)
                        : json_parse(SPAN("{}"), &ret_body->input, &error);
    if (rc)
        return rc;
    refuse_unknown(&r, ret_body->input, "", c->kind->member_fields, c->kind->member_field_count);
    json_begin(&r.w, &ret_body->text);
    json_open_object(&r.w, NULL);
    for (size_t i = 0; i < c->kind->member_field_count; i++)
        read_field(&r, &c->kind->member_fields[i], "", ret_body->input);
    json_close_object(&r.w);
    return conclude(&r);
}

int body_overlap(struct call *c, int64_t overlap_max_s, int64_t *ret_overlap_s)
{
    AUTO(json_value_freep) struct json_value *body = NULL;
    const struct json_value *given;
    char message[64];
    int r = c->req->body.n ? body_parse(c, &body) : 0;

    if (r || !body)
        return r;
    given = json_get(body, "overlap_s");
    if (json_count(body) != (given ? 1u : 0u))
        return call_refuse_at(c, REASON_INVALID, "", "takes overlap_s and nothing else");
    if (!given || (json_as_int(given, ret_overlap_s) && *ret_overlap_s >= 0 && *ret_overlap_s <= overlap_max_s))
        return 0;
    snprintf(message, sizeof(message), "must be a whole number from 0 to %" PRId64, overlap_max_s);
    return call_refuse_at(c, REASON_INVALID, "/overlap_s", message);
}

void body_deinit(struct body *b)
{
    secret_wipe((void *)(uintptr_t)b->secret.p, b->secret.n);
    json_value_free(b->input);
    json_value_free(b->doc);
    buf_deinit(&b->text);
}
