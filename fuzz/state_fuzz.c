// room: lib/state
// parser: lib/state/state.c lib/state/document.c lib/state/join.c lib/state/record_codec.c lib/state/record_element.c lib/state/agentpolicy.c lib/state/keyset.c
// beside: state_head_sign change_sign state_delta_sign state_snapshot_sign state_head_check join_mac join_mac_check record_put_line record_remove_line record_field_at put_rule agentpolicy_sign put_public keyset_sign keyset_open_pinned keyset_ref keyset_unref keyset_cluster keyset_serial
#include "lib/state/agentpolicy.h"
#include "lib/state/join.h"
#include "lib/state/state.h"
#include <string.h>
/*
 * What relays and agents read: the first byte says as what the rest is taken.  Bytes behind a
 * signature are signed here, so that the parsers are reached.  What is refused changes
 * nothing; what was read and written reads the same.
 */
#define CHECK(condition) do { if (!(condition)) __builtin_trap(); } while (0)
#define AGENT "01ARZ3NDEKTSV4RRFFQ69G5FAV"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct key *signer;
static struct keyset *keys;

static void prepare(void)
{
    char mem[4096];
    struct state_error e;
    struct buf out;

    if (keys)
        return;
    buf_init_fixed(&out, mem, sizeof(mem));
    CHECK(key_generate(&signer) == 0);
    CHECK(keyset_sign("adit", 1, &signer, 1, signer, &out) == 0);
    CHECK(keyset_open(buf_span(&out), "adit", signer, &keys, &e) == 0);
}

static void sign_and_cut(enum document_kind kind, struct span bytes, struct buf *out,
                         struct document *ret)
{
    struct state_error e;
    struct span rest;

    buf_init_heap(out, 1 << 22);
    CHECK(document_sign(kind, "adit", 1, signer, bytes, out) == 0);
    rest = buf_span(out);
    CHECK(document_cut(&rest, ret, &e) == 0 && rest.n == 0);
}

static void fuzz_state(enum document_kind kind, struct span bytes)
{
    struct state_position at = STATE_POSITION_NONE;
    struct policy *policy = NULL;
    struct state_error e;
    struct document d;
    struct buf out;

    sign_and_cut(kind, bytes, &out, &d);
    if (state_apply(&d, keys, NULL, &at, &policy, &at, &e) == 0)
        CHECK(policy && at.epoch == 1);
    else
        CHECK(!policy && at.epoch == 0);
    policy_unref(policy);
    buf_deinit(&out);
}

static void fuzz_head(struct span bytes)
{
    struct state_head head;
    struct state_error e;
    struct document d;
    struct buf out;

    sign_and_cut(DOCUMENT_HEAD, bytes, &out, &d);
    if (state_head_open(&d, keys, &head, &e) == 0)
        CHECK(strlen(head.digest) == 64);
    buf_deinit(&out);
}

static void fuzz_agentpolicy(struct span bytes)
{
    struct agent_reach *reach = NULL;
    struct agentpolicy_header h;
    struct state_error e;
    struct document d;
    struct buf out;

    sign_and_cut(DOCUMENT_AGENTPOLICY, bytes, &out, &d);
    if (agentpolicy_open(buf_span(&out), keys, AGENT, NULL, &h, &reach, &e) == 0)
        CHECK(reach);
    agent_reach_free(reach);
    buf_deinit(&out);
}

static void fuzz_raw(struct span text)
{
    struct policy *policy = NULL;
    struct state_position at = STATE_POSITION_NONE;
    struct state_error e;
    struct document d;

    while (document_cut(&text, &d, &e) == 0)
        CHECK(state_apply(&d, keys, NULL, &at, &policy, &at, &e) > 0 && !policy);
}

static void fuzz_record(enum record_kind kind, struct span json)
{
    struct span id = kind == RECORD_SETTING ? SPAN("a") : SPAN(AGENT);
    struct record *r = NULL, *again = NULL;
    struct state_error e;
    struct buf first, second;

    if (record_decode(kind, id, json, &r, &e))
        return;
    buf_init_heap(&first, 1 << 22);
    buf_init_heap(&second, 1 << 22);
    CHECK(record_encode(r, &first) == 0);
    CHECK(record_decode(kind, id, buf_span(&first), &again, &e) == 0);
    CHECK(record_encode(again, &second) == 0);
    CHECK(span_eq(buf_span(&first), buf_span(&second)));
    record_unref(r);
    record_unref(again);
    buf_deinit(&first);
    buf_deinit(&second);
}

static void fuzz_join(struct span text)
{
    char mem[2][2 * JOIN_TOKEN_MAX];
    struct join_token t, again;
    struct buf out[2];

    if (join_token_parse(text, &t))
        return;
    for (size_t i = 0; i < 2; i++)
        buf_init_fixed(&out[i], mem[i], sizeof(mem[i]));
    CHECK(join_token_format(&t, &out[0]) == 0);
    if (out[0].len > JOIN_TOKEN_MAX)
        return;
    CHECK(join_token_parse(buf_span(&out[0]), &again) == 0);
    CHECK(join_token_format(&again, &out[1]) == 0 && span_eq(buf_span(&out[0]), buf_span(&out[1])));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct span rest = span_of(data + 1, n - 1);

    if (n == 0)
        return 0;
    prepare();
    if (data[0] >= '0' && data[0] < '0' + RECORD_KIND_COUNT)
        fuzz_record((enum record_kind)(data[0] - '0'), rest);
    else if (data[0] == 'd' || data[0] == 's')
        fuzz_state(data[0] == 'd' ? DOCUMENT_DELTA : DOCUMENT_SNAPSHOT, rest);
    else if (data[0] == 'h')
        fuzz_head(rest);
    else if (data[0] == 'p')
        fuzz_agentpolicy(rest);
    else if (data[0] == 'j')
        fuzz_join(rest);
    else
        fuzz_raw(rest);
    return 0;
}
