#include "lib/tunnel/server/server_internal.h"

#include <openssl/ssl.h>
#include <stdio.h>

static int on_load_certificates(struct lws *wsi, void *ssl_ctx)
{
    struct lws_vhost *vhost = lws_get_vhost(wsi);
    struct tunnel_server *s = vhost ? lws_get_vhost_user(vhost) : NULL;

    if (!s || !s->config.tls)
        return 1;
    if (tls_ctx_apply(s->config.tls, ssl_ctx))
        return 1;
    /* Until the WebSocket is open nobody looks for input that OpenSSL read ahead. */
    SSL_CTX_set_read_ahead(ssl_ctx, 0);
    return 0;
}

static int refuse(struct lws *wsi, uint64_t *counter, unsigned status)
{
    (*counter)++;
    lws_return_http_status(wsi, status, NULL);
    return -1;
}

/* 503, and when to come again. */
static int put_off(struct lws *wsi, struct tunnel_server *s)
{
    unsigned char bytes[LWS_PRE + 512], *begin = bytes + LWS_PRE, *p = begin, *end = bytes + sizeof(bytes);
    const char *reason = reason_text(REASON_OVERLOAD);
    char seconds[12];
    int n = snprintf(seconds, sizeof(seconds), "%u", server_retry_after_s(s));

    s->stats.put_off++;
    if (!lws_add_http_header_status(wsi, HTTP_STATUS_SERVICE_UNAVAILABLE, &p, end)
        && !lws_add_http_header_by_name(wsi, (const unsigned char *)"retry-after:",
                                        (const unsigned char *)seconds, n, &p, end)
        && !lws_add_http_header_by_name(wsi, (const unsigned char *)"adit-reason:",
                                        (const unsigned char *)reason, (int)strlen(reason), &p, end)
        && !lws_add_http_header_content_length(wsi, 0, &p, end)
        && !lws_finalize_http_header(wsi, &p, end))
        lws_write(wsi, begin, (size_t)(p - begin), LWS_WRITE_HTTP_HEADERS);
    return -1;
}

/* The upgrade to `protocol` is asked for. */
static int on_upgrade(struct lws *wsi, struct server_link *k)
{
    struct tunnel_server *s = k->server;
    char path[16];

    if (s->is_draining)
        return refuse(wsi, &s->stats.refused_overload, HTTP_STATUS_SERVICE_UNAVAILABLE);
    if (lws_hdr_copy(wsi, path, sizeof(path), WSI_TOKEN_GET_URI) < 0
        || !span_eq(span_str(path), SPAN("/tunnel")))
        return refuse(wsi, &s->stats.refused_path, HTTP_STATUS_NOT_FOUND);
    if (lws_hdr_total_length(wsi, WSI_TOKEN_PROTOCOL) <= 0)
        return refuse(wsi, &s->stats.refused_protocol, HTTP_STATUS_BAD_REQUEST);
    if (k->is_put_off)
        return put_off(wsi, s);
    return 0;
}

static int on_receive(struct lws *wsi, struct server_link *k, const void *in, size_t len)
{
    unsigned char text[] = "only binary messages are taken";
    bool is_last = lws_is_final_fragment(wsi) && !lws_remaining_packet_payload(wsi);

    if (!lws_frame_is_binary(wsi)) {
        k->server->stats.bad_messages++;
        lws_close_reason(wsi, LWS_CLOSE_STATUS_UNACCEPTABLE_OPCODE, text, sizeof(text) - 1);
        k->is_left = true;
        server_link_gone(k, REASON_PROTOCOL_ERROR, "a text message");
        return -1;
    }
    return server_link_received(k, span_of(in, len), is_last) ? 0 : -1;
}

/* libwebsockets answers it; but one of a byte, which no code is, with that byte. */
static int on_peer_close(struct lws *wsi, struct server_link *k, size_t len)
{
    unsigned char no_text[1] = { 0 };

    k->is_peer_closing = true;
    if (len != 1)
        return 0;
    lws_close_reason(wsi, LWS_CLOSE_STATUS_PROTOCOL_ERR, no_text, 0);
    return -1;
}

static int on_destroy(struct server_link *k)
{
    if (!k->tunnel && k->is_counted && !k->is_gone && !k->is_put_off)
        k->server->stats.tls_failed++;
    k->wsi = NULL;
    k->gather = NULL;
    server_link_gone(k, REASON_SESSION_LOST, "the connection ended");
    return 0;
}

/* What concerns a connection of ours. */
static int on_link(struct lws *wsi, enum lws_callback_reasons event, struct server_link *k,
                   void *in, size_t len)
{
    switch ((int)event) {
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
        return on_upgrade(wsi, k);
    case LWS_CALLBACK_ESTABLISHED:
        return server_link_opened(k) ? 0 : -1;
    case LWS_CALLBACK_RECEIVE:
        return on_receive(wsi, k, in, len);
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return server_link_writable(k) ? 0 : -1;
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        return on_peer_close(wsi, k, len);
    case LWS_CALLBACK_WSI_DESTROY:
        return on_destroy(k);
    case LWS_CALLBACK_HTTP:
        return refuse(wsi, &k->server->stats.refused_path, HTTP_STATUS_NOT_FOUND);
    default:
        return 0;
    }
}

static int on_lws(struct lws *wsi, enum lws_callback_reasons event, void *user, void *in,
                  size_t len)
{
    struct server_link *k;

    if (event == LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS)
        return on_load_certificates(wsi, user);
    k = wsi ? lws_get_opaque_user_data(wsi) : NULL;
    if (k)
        return on_link(wsi, event, k, in, len);
    switch ((int)event) {       /* a connection that we have let go */
    case LWS_CALLBACK_ESTABLISHED:
    case LWS_CALLBACK_RECEIVE:
    case LWS_CALLBACK_SERVER_WRITEABLE:
    case LWS_CALLBACK_HTTP:
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
        return -1;
    default:
        return 0;
    }
}

const struct lws_protocols server_protocols[] = {
    { .name = "adit.v1", .callback = on_lws, .rx_buffer_size = SERVER_PART_MAX,
      .tx_packet_size = SERVER_MESSAGE_OUT_MAX + 16 },
    { 0 },
};
