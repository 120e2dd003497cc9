#include "dataplane/reporter.h"
#include "dataplane/policy/relay_metrics.h"
#include "lib/base/encode.h"
#include "lib/base/version.h"
#include "lib/crypto/ca.h"
#include "lib/json/json.h"
#include "lib/log/log.h"
#include "lib/state/feature.h"
#include <errno.h>
#include <string.h>

#define REPORT_MS 10000
#define SOON_MS 50
#define PROOF_LOOK_MS 1000          /* no more than one report in that time, however agents come and go in doubt */
#define RENEW_LOOK_MS 60000
#define AGENTS_MAX ((size_t)8 << 20)
#define BODY_MAX ((size_t)16 << 20)
#define BREAKERS_TOLD 1000
#define ANSWER_MAX ((size_t)16 << 20)

struct reporter {
    struct reporter_config config;
    struct loop_timer timer, renew, look;
    uint64_t proof_changes;         /* told */
    struct key *renewing;
    bool is_sending;
};

/* --- what runs here ------------------------------------------------------------------------- */

static void on_reported(void *user, const struct control_answer *answer)
{
    struct reporter *r = user;

    r->is_sending = false;
    if (answer->status >= 300)
        LOG(WARNING, "report.refused", U("status", answer->status), R("reason", answer->reason));
    else
        r->config.on_answer(r->config.user, answer->body);
}

static void put_breaker(void *ctx, const struct breaker_row *row)
{
    struct json_writer *w = ctx;

    json_open_object(w, NULL);
    json_put_str(w, "id", ulid_span(row->id));
    json_put_str(w, "agentgroup", ulid_span(row->agentgroup));
    json_put_text(w, "host", row->host);
    json_put_int(w, "port", row->port);
    json_put_bool(w, "is_trying", row->is_trying);
    json_put_text(w, "reason", reason_text(row->why));
    json_put_int(w, "failures", row->failures);
    json_put_int(w, "opened_at_ms", row->opened_ms);
    json_put_int(w, "left_ms", (int64_t)row->left_ms);
    json_close_object(w);
}

static void put_breakers(struct reporter *r, struct json_writer *w)
{
    size_t count;

    json_open_array(w, "breakers");
    count = breakers_each(r->config.breakers, mono_ms(), BREAKERS_TOLD, put_breaker, w);
    json_close_array(w);
    json_put_int(w, "breakers_open", (int64_t)count);
}

/* What a release before this one does not tell, it does not know. */
static void put_features(struct json_writer *w)
{
    json_open_array(w, "features");
    for (enum state_feature i = 0; i < STATE_FEATURE_COUNT; i++)
        json_put_text(w, NULL, state_feature_name(i));
    json_close_array(w);
}

static int write_report(struct reporter *r, struct buf *out)
{
    AUTO(buf_deinit) struct buf agents = { 0 };
    struct source_status status;
    struct json_writer w;

    buf_init_heap(&agents, AGENTS_MAX);
    roster_write_agents(r->config.roster, mono_ms(), &agents);
    source_status(r->config.source, &status);
    json_begin(&w, out);
    json_open_object(&w, NULL);
    json_put_int(&w, "epoch", (int64_t)status.position.epoch);
    json_put_int(&w, "revision", (int64_t)status.position.revision);
    json_put_text(&w, "software", "adit-relay/" ADIT_VERSION);
    json_put_str(&w, "boot_id", ulid_span(&r->config.boot_id));
    json_put_raw(&w, "agents", buf_error(&agents) ? SPAN("[]") : buf_span(&agents));
    json_put_int(&w, "streams", metrics_value(r->config.metrics, M_STREAMS, 0, 0));
    put_features(&w);
    if (status.is_too_old)
        json_put_text(&w, "refuses", status.last_error);
    put_breakers(r, &w);
    json_open_array(&w, "commands");
    json_put_text(&w, NULL, "diagnose");
    json_close_array(&w);
    json_close_object(&w);
    return buf_error(out);
}

static void send_soon(void *arg)
{
    struct reporter *r = arg;
    AUTO(buf_deinit) struct buf body = { 0 };

    timer_start(r->config.loop, &r->timer, r->is_sending ? PROOF_LOOK_MS : REPORT_MS, send_soon, r);
    if (r->is_sending)
        return;
    buf_init_heap(&body, BODY_MAX);
    r->is_sending = write_report(r, &body) == 0 &&
                    control_send(r->config.control, "/internal/v1/applied", buf_span(&body), ANSWER_MAX, 10000,
                                 on_reported, r) == 0;
}

void reporter_state_changed(struct reporter *r)
{
    timer_start(r->config.loop, &r->timer, SOON_MS, send_soon, r);
}

static void look_at_proofs(void *arg)
{
    struct reporter *r = arg;
    uint64_t changes = roster_proof_changes(r->config.roster);

    timer_start(r->config.loop, &r->look, PROOF_LOOK_MS, look_at_proofs, r);
    if (changes == r->proof_changes)
        return;
    r->proof_changes = changes;
    reporter_state_changed(r);
}

/* --- the relay's own certificate --------------------------------------------------------------- */

static void on_renewed(void *user, const struct control_answer *answer)
{
    struct reporter *r = user;
    AUTO(key_freep) struct key *key = TAKE(r->renewing);
    AUTO(json_value_freep) struct json_value *value = NULL;
    AUTO(buf_deinit) struct buf why = { 0 };
    struct json_error error;
    struct span pem;

    buf_init_heap(&why, 1024);
    if (answer->reason != REASON_NONE || json_parse(answer->body, &value, &error) ||
        !json_get_str(value, "chain", &pem)) {
        LOG(ERROR, "certificate.renewal_failed", R("reason", answer->reason), S("detail", answer->text));
        return;
    }
    if (member_renew(r->config.member, key, pem, (int64_t)(wall_ms() / 1000), &why)) {
        LOG(ERROR, "certificate.renewal_failed", SP("detail", buf_span(&why)));
        return;
    }
    LOG(INFO, "certificate.renewed", N("generation", r->config.member->self.generation),
        N("not_after_s", r->config.member->self.not_after_s));
    r->config.on_renewed(r->config.user);
}

static int write_renewal(struct reporter *r, struct buf *out)
{
    AUTO(buf_deinit) struct buf der = { 0 };
    AUTO(buf_deinit) struct buf text = { 0 };
    struct json_writer w;
    int e;

    buf_init_heap(&der, CSR_DER_MAX);
    buf_init_heap(&text, 2 * CSR_DER_MAX);
    e = csr_make(r->renewing, &der);
    if (e)
        return e;
    base64url_encode(buf_span(&der), &text);
    json_begin(&w, out);
    json_open_object(&w, NULL);
    json_put_str(&w, "id", ulid_span(&r->config.member->self.id));
    json_put_int(&w, "generation", r->config.member->self.generation);
    json_put_str(&w, "csr", buf_span(&text));
    json_close_object(&w);
    return buf_error(out);
}

static void on_renew_look(void *arg)
{
    struct reporter *r = arg;
    AUTO(buf_deinit) struct buf body = { 0 };

    timer_start(r->config.loop, &r->renew, RENEW_LOOK_MS, on_renew_look, r);
    if (r->renewing || member_renew_at_s(r->config.member) > (int64_t)(wall_ms() / 1000))
        return;
    buf_init_heap(&body, 16384);
    if (key_generate(&r->renewing) == 0 && write_renewal(r, &body) == 0 &&
        control_send(r->config.control, "/internal/v1/renew", buf_span(&body), 65536, 10000, on_renewed, r) == 0)
        return;
    if (r->renewing)
        key_free(TAKE(r->renewing));
    LOG(WARNING, "certificate.renewal_failed", S("detail", "no request could be made"));
}

int reporter_new(const struct reporter_config *config, struct reporter **ret_reporter)
{
    struct reporter *r = calloc(1, sizeof(*r));

    if (!r)
        return -ENOMEM;
    r->config = *config;
    timer_start(config->loop, &r->timer, SOON_MS, send_soon, r);
    timer_start(config->loop, &r->renew, RENEW_LOOK_MS, on_renew_look, r);
    timer_start(config->loop, &r->look, PROOF_LOOK_MS, look_at_proofs, r);
    *ret_reporter = r;
    return 0;
}

void reporter_free(struct reporter *r)
{
    timer_stop(&r->timer);
    timer_stop(&r->renew);
    timer_stop(&r->look);
    if (r->renewing)
        key_free(r->renewing);
    free(r);
}
