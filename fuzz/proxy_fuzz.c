// room: lib/net
// parser: lib/net/proxy.c
#include "lib/net/proxy.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* First line: the URL.  The rest: NO_PROXY, then whom to dial. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = span_of(data, size), url, bypass, item = SPAN_NONE;
    char words[256], list[4096];
    struct proxy p = { .port = 1 };
    struct buf why;

    if (!size || !span_cut(&rest, '\n', &url) || !span_cut(&rest, '\n', &bypass))
        return 0;
    buf_init_fixed(&why, words, sizeof(words));
    if (proxy_parse(url, &p, &why) == 0) {
        if (!p.host[0] || !p.port || (p.credentials[0] && !strchr(p.credentials, ':')))
            abort();
        for (const char *c = p.credentials; *c; c++) {
            if ((unsigned char)*c < ' ' || *c == 0x7f)
                abort();
        }
    } else if (!why.len) {
        abort();                /* nobody would know what was wrong */
    }
    if (!proxy_bypass_is_valid(bypass, &item) && !item.n)
        abort();
    if (!span_copy(bypass, list, sizeof(list)))
        return 0;
    (void)!proxy_set_credentials(&p, rest, &why);
    p.bypass = list;
    if (proxy_is_for(&p, rest, 7443) && span_eq(bypass, SPAN("*")))
        abort();
    return 0;
}
