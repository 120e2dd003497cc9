#include "lib/ws/conn/ws_accept.h"

#include "lib/base/encode.h"
#include "lib/crypto/digest.h"
#include "lib/ws/ws.h"

void ws_accept_value(struct span key, char dst[WS_ACCEPT_CHARS + 1])
{
    char input[WS_ACCEPT_INPUT_BYTES];
    unsigned char digest[SHA1_LEN];
    struct buf b;

    ws_accept_input(key, input);
    sha1_for_websocket(span_of(input, sizeof(input)), digest);
    buf_init_fixed(&b, dst, WS_ACCEPT_CHARS);
    base64_encode(span_of(digest, sizeof(digest)), &b);
    dst[WS_ACCEPT_CHARS] = 0;
}
