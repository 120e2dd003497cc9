#include "lib/ws/ws.h"
#include <errno.h>
#include <string.h>

static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/* No line may begin inside what the caller gives, and no word end inside the path. */
static bool is_plain(struct span s, unsigned char lowest)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if ((c < lowest && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static bool request_is_good(const struct ws_request *r)
{
    if (r->authority.n == 0 || r->path.n == 0 || r->path.p[0] != '/' || r->key.n != WS_KEY_BYTES
        || !is_plain(r->authority, '!') || !is_plain(r->path, '!') || !is_plain(r->key, '!')
        || !is_plain(r->protocol, '!') || span_find(r->path, '\t') < r->path.n)
        return false;

    for (size_t i = 0; i < r->field_count; i++) {
        if (r->fields[i].name.n == 0 || !is_plain(r->fields[i].name, '!')
            || span_find(r->fields[i].name, ':') < r->fields[i].name.n
            || !is_plain(r->fields[i].value, ' '))
            return false;
    }
    return true;
}

static void field_write(struct buf *out, struct span name, struct span value)
{
    buf_put_span(out, name);
    buf_put_str(out, ": ");
    buf_put_span(out, value);
    buf_put_str(out, "\r\n");
}

void ws_request_write(struct buf *out, const struct ws_request *r)
{
    if (out->error)
        return;
    if (!request_is_good(r)) {
        out->error = -EINVAL;
        return;
    }

    buf_put_str(out, "GET ");
    buf_put_span(out, r->path);
    buf_put_str(out, " HTTP/1.1\r\n");
    field_write(out, SPAN("Host"), r->authority);
    buf_put_str(out, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n");
    field_write(out, SPAN("Sec-WebSocket-Key"), r->key);
    if (r->protocol.n)
        field_write(out, SPAN("Sec-WebSocket-Protocol"), r->protocol);
    for (size_t i = 0; i < r->field_count; i++)
        field_write(out, r->fields[i].name, r->fields[i].value);
    buf_put_str(out, "\r\n");
}

void ws_accept_input(struct span key, char dst[WS_ACCEPT_INPUT_BYTES])
{
    memset(dst, 0, WS_KEY_BYTES);
    if (key.n)
        memcpy(dst, key.p, key.n < WS_KEY_BYTES ? key.n : WS_KEY_BYTES);
    memcpy(dst + WS_KEY_BYTES, guid, sizeof(guid) - 1);
}

int ws_answer_check(const struct ws_answer *a, struct span want_accept, struct span want_protocol)
{
    if (a->status != 101)
        return WS_E_STATUS;
    if (!a->has_upgrade || !a->has_connection)
        return WS_E_UPGRADE;
    if (a->accept_count != 1 || want_accept.n == 0 || !span_eq(a->accept, want_accept))
        return WS_E_ACCEPT;
    if (a->extension_count)
        return WS_E_EXTENSION;
    if (a->protocol_count != (want_protocol.n ? 1 : 0)
        || (want_protocol.n && !span_eq(a->protocol, want_protocol)))
        return WS_E_PROTOCOL;
    return 0;
}

/* 16 bytes in base 64: 22 characters that count, of which the last has four bits to spare. */
static bool key_is_good(struct span key)
{
    if (key.n != WS_KEY_BYTES || key.p[22] != '=' || key.p[23] != '=' || !memchr("AQgw", key.p[21], 4))
        return false;
    for (size_t i = 0; i < 22; i++) {
        char c = key.p[i];
        bool is_letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');

        if (!is_letter && !(c >= '0' && c <= '9') && c != '+' && c != '/')
            return false;
    }
    return true;
}

int ws_offer_check(const struct ws_offer *o)
{
    if (!o->is_plain_get)
        return WS_E_METHOD;
    if (!o->has_upgrade || !o->has_connection)
        return WS_E_NO_UPGRADE;
    if (o->version_count != 1 || !span_eq(o->version, SPAN("13")))
        return WS_E_VERSION;
    if (o->key_count != 1 || !key_is_good(o->key))
        return WS_E_KEY;
    return o->has_protocol ? 0 : WS_E_NO_PROTOCOL;
}

unsigned ws_offer_status(int error)
{
    return error == WS_E_NO_UPGRADE || error == WS_E_VERSION ? 426 : 400;
}

void ws_answer_write(struct buf *out, struct span accept, struct span protocol)
{
    buf_put_str(out, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    field_write(out, SPAN("Sec-WebSocket-Accept"), accept);
    if (protocol.n)
        field_write(out, SPAN("Sec-WebSocket-Protocol"), protocol);
    buf_put_str(out, "\r\n");
}
