#include "controlplane/lists.h"
#include "controlplane/domain/right.h"
#include "lib/config/option.h"

void lists_split(char *list, const char *out[API_JOIN_ADDRS_MAX])
{
    size_t n = 0;

    for (char *at = list; at && *at && n < API_JOIN_ADDRS_MAX;) {
        char *end = at + span_find(span_str(at), '\n');

        out[n++] = at;
        at = *end ? end + 1 : end;
        *end = '\0';
    }
}

unsigned lists_roles(const char *list)
{
    struct span rest = span_str(list), item;
    unsigned roles = 0;

    while (option_list_next(&rest, &item))
        roles |= role_bit(item);
    return roles;
}
