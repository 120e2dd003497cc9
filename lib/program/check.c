#include "lib/program/check.h"
#include "lib/base/addr.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- listeners -------------------------------------------------------------------------------- */

static bool is_any(const struct addr *a)
{
    static const struct addr none;
    struct addr v4 = addr_v4(0, 0, 0, 0);

    return addr_eq(a, &none) || addr_eq(a, &v4);
}

/* [::] listens on IPv4 too. */
static bool covers(const struct addr *any, const struct addr *other)
{
    return is_any(any) && (addr_is_v4(other) || !addr_is_v4(any));
}

static bool is_same_place(const struct endpoint *a, const struct endpoint *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == ENDPOINT_UNIX)
        return strcmp(a->path, b->path) == 0;
    return a->port && a->port == b->port &&
           (addr_eq(&a->addr, &b->addr) || covers(&a->addr, &b->addr) || covers(&b->addr, &a->addr));
}

int program_check_listens(const struct program_listen *listens, size_t count, struct buf *reterr)
{
    for (size_t i = 1; i < count; i++) {
        struct endpoint at, other;

        if (!endpoint_parse(span_str(listens[i].text), &at))
            continue;
        for (size_t j = 0; j < i; j++) {
            if (!endpoint_parse(span_str(listens[j].text), &other) || !is_same_place(&at, &other))
                continue;
            buf_printf(reterr, "%s: %s is taken by %s (%s): give it another port", listens[i].option,
                       listens[i].text, listens[j].option, listens[j].text);
            return -EINVAL;
        }
    }
    return 0;
}

/* --- files and addresses ------------------------------------------------------------------------ */

int program_check_file(const char *option, const char *path, const char *what, struct buf *reterr)
{
    struct stat st;
    int error = 0;

    if (!path[0])
        return 0;
    if (stat(path, &st) || access(path, R_OK))
        error = errno;
    else if (S_ISDIR(st.st_mode))
        error = EISDIR;
    if (!error)
        return 0;
    buf_printf(reterr, "%s: %s: %s. Name a file with %s that this program may read", option, path,
               strerrordesc_np(error), what);
    return -EINVAL;
}

int program_check_url(const char *option, const char *url, struct buf *reterr)
{
    struct span rest = span_str(url), host;
    struct addr addr;
    char name[254];
    uint16_t port;

    if (span_starts(rest, SPAN("https://")) && authority_parse(span_skip(rest, 8), 443, &host, &port) &&
        (addr_parse(host, &addr) || host_canonical(host, name)))
        return 0;
    buf_printf(reterr, "%s: \"%s\" is not https://host:port (e.g. https://controlplane.example:8444)", option, url);
    return -EINVAL;
}
