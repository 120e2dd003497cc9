#include "controlplane/audit/verify.h"
#include "controlplane/routes/handlers.h"
#include "controlplane/routes/view.h"

#include <errno.h>

#define FILE_TAIL (256u << 10)          /* of the file outside; the whole of it: on the command line */

static void put_finding(const struct audit_verdict *v, struct json_writer *w)
{
    if (!v->finding)
        return;
    json_put_text(w, "finding", audit_finding_code(v->finding));
    json_put_text(w, "detail", audit_finding_text(v->finding));
    if (v->finding == AUDIT_CHAIN) {
        json_put_text(w, "bad_writer", v->chains.bad_writer);
        json_put_int(w, "bad_seq", (int64_t)v->chains.bad_seq);
    } else {
        json_put_int(w, "bad_checkpoint", v->bad_number);
    }
}

static int put_verdict(struct call *c, const struct audit_verdict *v)
{
    AUTO(buf_deinit) struct buf pem;
    struct json_writer w;
    int r;

    buf_init_heap(&pem, KEY_PEM_MAX);
    r = key_public_pem(c->api->options.audit_key, &pem);
    if (r)
        return r;
    json_begin(&w, &c->res->body);
    json_open_object(&w, NULL);
    json_put_bool(&w, "whole", !v->finding);
    json_put_int(&w, "events", (int64_t)v->chains.events);
    json_put_int(&w, "chains", (int64_t)v->chains.chains);
    json_put_int(&w, "checkpoints", (int64_t)v->checkpoints);
    json_put_int(&w, "removed", (int64_t)v->removed);
    json_put_int(&w, "outside", (int64_t)v->outside);
    json_put_int(&w, "outside_lost", (int64_t)v->outside_lost);
    if (v->last_number) {
        json_put_int(&w, "last_checkpoint", v->last_number);
        view_time(&w, "last_checkpoint_at", v->last_at_ms);
    }
    json_put_str(&w, "key", buf_span(&pem));
    put_finding(v, &w);
    json_close_object(&w);
    c->res->status = 200;
    return buf_error(&c->res->body);
}

static int verify_audit(struct call *c)
{
    const struct audit_verify_options options = { .key = c->api->options.audit_key,
                                                  .file = c->api->options.audit_file, .file_tail = FILE_TAIL };
    struct audit_verdict verdict;
    int r = audit_verify(c->tx, &options, &verdict);

    return r && r != -EUCLEAN ? r : put_verdict(c, &verdict);
}

void on_audit_verify(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_READ, verify_audit);
}
