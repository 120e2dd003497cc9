#include "lib/http1/head.h"
#include "lib/http1/chars.h"

/* 0: a whole line, without its CR LF; the scan stands behind it. */
static int next_line(struct http1_scan *scan, struct span in, struct span *ret_line)
{
    size_t limit = scan->limit ? scan->limit : HTTP1_HEAD_MAX;
    size_t end = in.n < limit ? in.n : limit;

    for (; scan->seen < end; scan->seen++) {
        unsigned char c = (unsigned char)in.p[scan->seen];
        bool is_after_cr = scan->seen > scan->line && in.p[scan->seen - 1] == '\r';

        if ((c == '\n') != is_after_cr)
            return HTTP1_E_LINE_END;
        if (c == '\n') {
            *ret_line = span_of(in.p + scan->line, scan->seen - 1 - scan->line);
            scan->line = ++scan->seen;
            return 0;
        }
        if (c != '\r' && !chars_is(c, CHARS_TEXT))
            return HTTP1_E_CONTROL;
    }
    return end == limit ? HTTP1_E_HEAD_TOO_LARGE : HTTP1_E_MORE;
}

static int field_parse(struct span line, struct http1_field *ret_field)
{
    size_t colon = span_find(line, ':');

    if (line.p[0] == ' ' || line.p[0] == '\t')
        return HTTP1_E_FIELD_FOLDED;
    if (colon == 0 || colon == line.n || !chars_are(span_first(line, colon), CHARS_TOKEN))
        return HTTP1_E_FIELD_NAME;

    ret_field->name = span_first(line, colon);
    ret_field->value = span_trim(span_skip(line, colon + 1));
    return 0;
}

static int line_check(struct http1_scan *scan, struct span line, head_first_line first_line,
                      struct http1_head *h)
{
    struct http1_field field;

    if (scan->lines++ == 0)
        return first_line(line, h);
    if (scan->lines > HTTP1_HEADERS_MAX + 1)
        return HTTP1_E_TOO_MANY_FIELDS;
    return field_parse(line, &field);
}

/* 0: the empty line is there; every line before it is good. */
static int head_scan(struct http1_scan *scan, struct span in, bool skip_empty_line,
                     head_first_line first_line, struct http1_head *h)
{
    struct span line;
    int r;

    for (;;) {
        r = next_line(scan, in, &line);
        if (r)
            return r;
        if (line.n == 0 && scan->lines > 0)
            return 0;
        if (line.n == 0 && skip_empty_line && scan->line == 2)
            continue;

        r = line_check(scan, line, first_line, h);
        if (r)
            return r;
    }
}

/* Cuts a line off text that head_scan() found good. */
static struct span line_cut(struct span *text)
{
    struct span line = span_first(*text, span_find(*text, '\r'));

    *text = span_skip(*text, line.n + 2);
    return line;
}

static int head_keep(struct span text, head_first_line first_line, struct http1_head *h)
{
    struct span line = line_cut(&text);
    int r;

    if (line.n == 0)                    /* the empty line before a request */
        line = line_cut(&text);
    r = first_line(line, h);

    for (line = line_cut(&text); !r && line.n; line = line_cut(&text))
        r = field_parse(line, &h->fields[h->field_count++]);
    return r;
}

int head_read(struct http1_scan *scan, struct span in, bool skip_empty_line,
              head_first_line first_line, struct http1_head *h)
{
    int r = head_scan(scan, in, skip_empty_line, first_line, h);

    if (r)
        return r;

    *h = (struct http1_head){ .bytes = scan->seen };
    return head_keep(span_first(in, scan->seen), first_line, h);
}

int head_version(struct span text, int malformed, struct http1_head *h)
{
    if (text.n != 8 || !span_starts(text, SPAN("HTTP/")) || text.p[6] != '.'
        || !chars_is((unsigned char)text.p[5], CHARS_DIGIT)
        || !chars_is((unsigned char)text.p[7], CHARS_DIGIT))
        return malformed;
    if (text.p[5] != '1' || text.p[7] > '1')
        return HTTP1_E_VERSION;

    h->minor = (unsigned)(text.p[7] - '0');
    return 0;
}
