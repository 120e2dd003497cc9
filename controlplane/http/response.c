#include "controlplane/http/server_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void response_header(struct response *res, const char *name, const char *format, ...)
{
    size_t i = 0;
    va_list args;
    int n;

    while (i < res->header_count &&
           (strcasecmp(res->headers[i].name, name) != 0 || strcasecmp(name, "Set-Cookie") == 0))
        i++;
    if (i == RESPONSE_HEADERS_MAX) {
        problem_set(&res->problem, REASON_INTERNAL, "too many headers");
        return;
    }
    snprintf(res->headers[i].name, sizeof(res->headers[i].name), "%s", name);
    va_start(args, format);
    n = vsnprintf(res->headers[i].value, sizeof(res->headers[i].value), format, args);
    va_end(args);
    if (n < 0 || n >= (int)sizeof(res->headers[i].value) || strpbrk(res->headers[i].value, "\r\n"))
        problem_set(&res->problem, REASON_INTERNAL, "a header does not fit");
    else if (i == res->header_count)
        res->header_count++;
}

void response_redirect(struct response *res, unsigned status, struct span url)
{
    res->status = status;
    buf_clear(&res->location);
    buf_put_span(&res->location, url);
    buf_put_u8(&res->location, 0);
    if (buf_error(&res->location) || span_find(url, '\r') < url.n || span_find(url, '\n') < url.n)
        problem_set(&res->problem, REASON_INTERNAL, "a header does not fit");
}

void response_etag(struct response *res, int64_t version)
{
    response_header(res, "ETag", "\"%lld\"", (long long)version);
}

void response_problem(struct response *res, enum reason reason, const char *format, ...)
{
    va_list args;

    res->problem.reason = reason;
    va_start(args, format);
    vsnprintf(res->problem.detail, sizeof(res->problem.detail), format, args);
    va_end(args);
}

void response_fail(struct response *res, int r)
{
    static const struct {
        int error;
        enum reason reason;
        const char *detail;
    } rows[] = {
        { -ENOSPC, REASON_OVERLOAD, "the disk is full" },
        { -ENOTCONN, REASON_STORE_UNAVAILABLE, "the database cannot be reached" },
        { -EROFS, REASON_STORE_UNAVAILABLE, "the database takes no writes" },
        { -EBUSY, REASON_OVERLOAD, "the database is busy" },
        { -EAGAIN, REASON_OVERLOAD, "the database is busy" },
        { -ETIMEDOUT, REASON_OVERLOAD, "the database took too long" },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].error != r)
            continue;
        response_problem(res, rows[i].reason, "%s", rows[i].detail);
        return;
    }
    response_problem(res, REASON_INTERNAL, "%s", "");
}

void response_park(struct response *res, unsigned timeout_ms)
{
    res->park_ms = timeout_ms ? timeout_ms : 1;
}

/* One entity tag off a list; weak ones compare by their text too (RFC 9110, 13.1.2). */
static bool next_tag(struct span *rest, struct span *ret_tag)
{
    struct span item;

    if (!span_cut(rest, ',', &item))
        return false;
    item = span_trim(item);
    *ret_tag = span_starts(item, SPAN("W/")) ? span_skip(item, 2) : item;
    return true;
}

static bool has_tag(struct span list, struct span tag)
{
    struct span item;

    if (span_eq(span_trim(list), SPAN("*")))
        return true;
    while (next_tag(&list, &item))
        if (span_eq(item, tag))
            return true;
    return false;
}

bool response_is_unchanged(const struct response *res, struct span if_none_match)
{
    for (size_t i = 0; i < res->header_count; i++)
        if (strcasecmp(res->headers[i].name, "ETag") == 0)
            return has_tag(if_none_match, span_str(res->headers[i].value));
    return false;
}

bool request_matches(const struct request *req, int64_t version, struct response *res)
{
    struct span wanted = request_header(req, "If-Match");
    char tag[32];

    snprintf(tag, sizeof(tag), "\"%lld\"", (long long)version);
    if (!wanted.n)
        response_problem(res, REASON_PRECONDITION_REQUIRED, "%s", "");
    else if (!has_tag(wanted, span_str(tag)))
        response_problem(res, REASON_PRECONDITION_FAILED, "the object is at version %lld",
                         (long long)version);
    return res->problem.reason == REASON_NONE;
}

static bool tag_version(struct span tag, int64_t *ret_version)
{
    uint64_t v;

    if (tag.n < 3 || tag.p[0] != '"' || tag.p[tag.n - 1] != '"')
        return false;
    if (!span_to_u64(span_of(tag.p + 1, tag.n - 2), INT64_MAX, &v) || !v)
        return false;
    *ret_version = (int64_t)v;
    return true;
}

bool request_expected_version(const struct request *req, struct response *res, int64_t *ret_version)
{
    struct span wanted = span_trim(request_header(req, "If-Match"));

    if (!wanted.n) {
        response_problem(res, REASON_PRECONDITION_REQUIRED, "%s", "");
        return false;
    }
    if (span_eq(wanted, SPAN("*"))) {
        *ret_version = 0;
        return true;
    }
    /* A tag that was never ours matches nothing. */
    if (!tag_version(wanted, ret_version)) {
        response_problem(res, REASON_PRECONDITION_FAILED, "If-Match holds no tag of this object");
        return false;
    }
    return true;
}
