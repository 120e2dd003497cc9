#include "controlplane/audit/checkpoint.h"
#include "lib/base/encode.h"
#include "lib/json/json.h"

#include <errno.h>
#include <string.h>

#define FORMAT "adit-audit-checkpoint/1"
#define LINE_HEAD "{\"signature\":\""
#define LINE_MIDDLE "\",\"checkpoint\":"

int checkpoint_write(const struct checkpoint *c, struct buf *ret_doc)
{
    struct json_writer w;

    json_begin(&w, ret_doc);
    json_open_object(&w, NULL);
    json_put_text(&w, "format", FORMAT);
    json_put_text(&w, "cluster", c->cluster);
    json_put_int(&w, "epoch", c->epoch);
    json_put_int(&w, "number", c->number);
    json_put_text(&w, "prev", c->prev);
    json_put_int(&w, "at_ms", c->at_ms);
    json_put_int(&w, "steady_ms", c->steady_ms);
    json_put_text(&w, "by", c->by);
    json_put_int(&w, "removed_to", c->removed_to);
    json_open_array(&w, "heads");
    for (size_t i = 0; i < c->head_count; i++) {
        json_open_object(&w, NULL);
        json_put_text(&w, "writer", c->heads[i].writer);
        json_put_int(&w, "seq", c->heads[i].seq);
        json_put_text(&w, "hash", c->heads[i].hash);
        json_close_object(&w);
    }
    json_close_array(&w);
    json_close_object(&w);
    return buf_error(ret_doc);
}

static bool take_text(const struct json_value *v, const char *key, char *dst, size_t size)
{
    struct span text;

    return json_get_str(v, key, &text) && span_copy(text, dst, size);
}

static bool take_heads(const struct json_value *heads, struct checkpoint *c)
{
    c->head_count = heads ? json_count(heads) : CHECKPOINT_HEADS_MAX + 1;
    if (c->head_count > CHECKPOINT_HEADS_MAX)
        return false;
    for (size_t i = 0; i < c->head_count; i++) {
        const struct json_value *head = json_at(heads, i);

        if (!take_text(head, "writer", c->heads[i].writer, sizeof(c->heads[i].writer)) ||
            !take_text(head, "hash", c->heads[i].hash, sizeof(c->heads[i].hash)) ||
            !json_get_int(head, "seq", &c->heads[i].seq))
            return false;
    }
    return true;
}

int checkpoint_read(struct span doc, struct checkpoint *ret_c)
{
    AUTO(json_value_freep) struct json_value *v = NULL;
    struct json_error error;
    struct span format;
    bool is_whole;

    if (json_parse(doc, &v, &error))
        return -EBADMSG;
    ret_c->steady_ms = 0;
    is_whole = json_get_str(v, "format", &format) && span_eq(format, SPAN(FORMAT)) &&
               take_text(v, "cluster", ret_c->cluster, sizeof(ret_c->cluster)) &&
               take_text(v, "prev", ret_c->prev, sizeof(ret_c->prev)) &&
               take_text(v, "by", ret_c->by, sizeof(ret_c->by)) &&
               json_get_int(v, "epoch", &ret_c->epoch) && json_get_int(v, "number", &ret_c->number) &&
               json_get_int(v, "at_ms", &ret_c->at_ms) &&
               json_get_int(v, "removed_to", &ret_c->removed_to) &&
               take_heads(json_get(v, "heads"), ret_c);
    if (is_whole && !json_get_int(v, "steady_ms", &ret_c->steady_ms))
        ret_c->steady_ms = ret_c->at_ms;        /* made before there was one */
    return is_whole ? 0 : -EBADMSG;
}

int checkpoint_sign(const struct key *key, struct span doc, struct buf *ret_signature)
{
    AUTO(buf_deinit) struct buf der;
    int r;

    buf_init_heap(&der, KEY_SIGNATURE_MAX);
    r = key_sign(key, doc, &der);
    if (!r)
        base64url_encode(buf_span(&der), ret_signature);
    return r ? r : buf_error(ret_signature);
}

bool checkpoint_is_signed(const struct key *key, struct span doc, struct span signature)
{
    unsigned char bytes[KEY_SIGNATURE_MAX];
    struct buf der;

    buf_init_fixed(&der, bytes, sizeof(bytes));
    return base64url_decode(signature, &der) && !buf_error(&der) && key_verify(key, doc, buf_span(&der));
}

const struct store_audit_head *checkpoint_head(const struct checkpoint *c, const char *writer)
{
    for (size_t i = 0; i < c->head_count; i++)
        if (strcmp(c->heads[i].writer, writer) == 0)
            return &c->heads[i];
    return NULL;
}

void checkpoint_line(struct span doc, struct span signature, struct buf *out)
{
    buf_put_str(out, LINE_HEAD);
    buf_put_span(out, signature);
    buf_put_str(out, LINE_MIDDLE);
    buf_put_span(out, doc);
    buf_put_str(out, "}\n");
}

bool checkpoint_line_cut(struct span line, struct span *ret_doc, struct span *ret_signature)
{
    struct span rest, signature;

    if (!span_starts(line, SPAN(LINE_HEAD)))
        return false;
    rest = span_skip(line, strlen(LINE_HEAD));
    signature = span_first(rest, span_find(rest, '"'));
    rest = span_skip(rest, signature.n);
    if (!span_starts(rest, SPAN(LINE_MIDDLE)))
        return false;
    rest = span_skip(rest, strlen(LINE_MIDDLE));
    if (rest.n < 2 || rest.p[rest.n - 1] != '}')
        return false;
    *ret_doc = span_first(rest, rest.n - 1);
    *ret_signature = signature;
    return true;
}
