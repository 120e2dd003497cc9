#include "lib/json/scan_internal.h"
#include <stdio.h>

struct scan {
    size_t depth;
    unsigned members[JSON_DEPTH_MAX];   /* 0 in an array */
    bool is_in_string, is_escaped;
    const char *problem;
};

static void scan_string(struct scan *s, char c)
{
    if (s->is_escaped)
        s->is_escaped = false;
    else if (c == '\\')
        s->is_escaped = true;
    else if (c == '"')
        s->is_in_string = false;
}

static void scan_open(struct scan *s, unsigned members)
{
    if (s->depth == JSON_DEPTH_MAX)
        s->problem = "is nested deeper than 32";
    else
        s->members[s->depth++] = members;
}

static void scan_comma(struct scan *s)
{
    unsigned *members = s->depth ? &s->members[s->depth - 1] : NULL;

    if (members && *members && ++*members > JSON_MEMBERS_MAX)
        s->problem = "has an object of more than 1024 members";
}

static void scan_char(struct scan *s, char c)
{
    if (s->is_in_string)
        scan_string(s, c);
    else if (c == '"')
        s->is_in_string = true;
    else if (c == '{' || c == '[')
        scan_open(s, c == '{');
    else if ((c == '}' || c == ']') && s->depth)
        s->depth--;
    else if (c == ',')
        scan_comma(s);
}

bool json_scan_limits(struct span text, struct json_error *reterr)
{
    struct scan s = { 0 };

    for (size_t i = 0; i < text.n && !s.problem; i++)
        scan_char(&s, text.p[i]);
    if (!s.problem)
        return true;
    reterr->pointer[0] = 0;
    snprintf(reterr->message, sizeof(reterr->message), "%s", s.problem);
    return false;
}
