#include "lib/ws/server/ws_request.h"

#include "lib/ws/conn/ws_accept.h"
#include "lib/ws/ws.h"

int ws_request_check(const struct http1_head *head, struct span protocol)
{
    struct ws_offer o = {
        .is_plain_get = span_eq(head->method, SPAN("GET")) && head->minor == 1
                        && head->form == HTTP1_FORM_ORIGIN && head->framing == HTTP1_BODY_NONE,
        .has_upgrade = http1_has_token(head, SPAN("Upgrade"), SPAN("websocket")),
        .has_connection = http1_has_token(head, SPAN("Connection"), SPAN("upgrade")),
        .version_count = http1_count(head, SPAN("Sec-WebSocket-Version")),
        .key_count = http1_count(head, SPAN("Sec-WebSocket-Key")),
        .has_protocol = http1_has_token(head, SPAN("Sec-WebSocket-Protocol"), protocol),
    };

    http1_find(head, SPAN("Sec-WebSocket-Version"), &o.version);
    http1_find(head, SPAN("Sec-WebSocket-Key"), &o.key);
    return ws_offer_check(&o);
}

void ws_request_agree(struct buf *out, const struct http1_head *head, struct span protocol)
{
    char accept[WS_ACCEPT_CHARS + 1];
    struct span key = SPAN_NONE;

    http1_find(head, SPAN("Sec-WebSocket-Key"), &key);
    ws_accept_value(key, accept);
    ws_answer_write(out, span_str(accept), protocol);
}

void ws_request_refuse(struct buf *out, int error)
{
    static const struct http1_field wanted[] = {
        { SPAN_INIT("Upgrade"), SPAN_INIT("websocket") },
        { SPAN_INIT("Sec-WebSocket-Version"), SPAN_INIT("13") },
    };
    unsigned char text[128];
    struct http1_answer answer = { .status = ws_offer_status(error), .close = true };
    struct buf body;

    buf_init_fixed(&body, text, sizeof(text));
    buf_put_str(&body, ws_error_text(error));
    buf_put_str(&body, "\n");
    answer.body = buf_span(&body);
    if (answer.status == 426) {
        answer.set = wanted;
        answer.set_count = ARRAY_LEN(wanted);
    }
    http1_write_answer(out, &answer);
}
