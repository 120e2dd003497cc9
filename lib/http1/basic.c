#include "lib/base/encode.h"
#include "lib/http1/http1.h"

static bool has_control(struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c < 0x20 || c == 0x7f)
            return true;
    }
    return false;
}

int http1_basic_parse(struct span value, void *mem, size_t mem_bytes, struct span *ret_user,
                      struct span *ret_secret)
{
    struct span rest = value, scheme, decoded, user;
    struct buf out;

    if (!span_cut(&rest, ' ', &scheme) || !span_eq_nocase(scheme, SPAN("Basic")))
        return HTTP1_BASIC_E_SCHEME;
    buf_init_fixed(&out, mem, mem_bytes);
    if (!base64_decode(span_trim(rest), &out))
        return HTTP1_BASIC_E_MALFORMED;

    decoded = buf_span(&out);
    if (has_control(decoded) || span_find(decoded, ':') == decoded.n)
        return HTTP1_BASIC_E_MALFORMED;
    user = span_first(decoded, span_find(decoded, ':'));
    *ret_user = user;
    *ret_secret = span_skip(decoded, user.n + 1);
    return 0;
}
