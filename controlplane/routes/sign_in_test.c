#include "controlplane/domain/when.h"
#include "controlplane/routes/api_fixture.h"
#include "controlplane/routes/ticket.h"

/* ---- proxy credentials of who logs in by a provider ---- */
struct seen {
    struct span id;
    char json[1024];
};

static int look(void *ctx, const struct store_change *change)
{
    struct seen *seen = ctx;

    if (span_eq(change->id, seen->id))
        assert_true(span_copy(change->json, seen->json, sizeof(seen->json)));
    return 0;
}

static int64_t expiry_of(struct fix *f, const struct ulid *credential)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    struct seen seen = { .id = ulid_span(credential) };
    const char *at;
    uint64_t end_ms = 0;
    struct span rest;

    assert_int_equal(store_begin(f->store, STORE_READ, &tx), 0);
    assert_int_equal(store_state_each(tx, look, &seen), 0);
    assert_true(seen.json[0]);
    at = strstr(seen.json, "\"expires_ms\":");
    if (!at)
        return 0;
    rest = span_skip(span_str(at), strlen("\"expires_ms\":"));
    rest = span_first(rest, strspn(rest.p, "0123456789"));
    assert_true(span_to_u64(rest, INT64_MAX, &end_ms));
    return (int64_t)end_ms;
}

static void set_user(struct fix *f, const struct ulid *id, const char *doc, const struct ulid *provider)
{
    struct store_tx *tx;
    struct change c;
    struct change_ref ref = { .field = "identity_provider" };
    int64_t version;

    if (provider)
        ref.to = *provider;
    assert_int_equal(store_begin(f->store, STORE_WRITE, &tx), 0);
    c = fix_change(tx);
    assert_int_equal(change_update(&c, &(struct change_object){ .kind = kind_at(KIND_USER), .id = *id,
        .doc = span_str(doc), .refs = &ref, .ref_count = provider ? 1 : 0 }, 0, &version), 0);
    assert_int_equal(store_commit(&tx, NULL), 0);
}

static void test_credentials_lapse(void **state)
{
    static const struct {
        const char *it, *last, *own_end, *want;
        bool is_bound;
    } rows[] = {
        { "never lapse of others", NULL, NULL, NULL, false },
        { "do not count before the first log-in", NULL, NULL, "1970-01-01T00:00:00Z", true },
        { "lapse seven days after the last", "2031-01-01T00:00:00Z", NULL, "2031-01-08T00:00:00Z", true },
        { "last longer after the next", "2031-01-03T00:00:00Z", NULL, "2031-01-10T00:00:00Z", true },
        { "lapse when nobody is bound any more, no more", NULL, NULL, NULL, false },
        { "keep an end of their own that is earlier", "2031-01-03T00:00:00Z", "2031-01-04T00:00:00Z",
          "2031-01-04T00:00:00Z", true },
        { "have no later end of their own", "2031-01-03T00:00:00Z", "2031-02-04T00:00:00Z",
          "2031-01-10T00:00:00Z", true },
    };
    static struct fix f;
    struct ulid *user, provider;
    struct store_tx *tx;

    (void)state;
    fix_start(&f);
    user = &f.users[FIX_USER].id;
    assert_int_equal(store_begin(f.store, STORE_WRITE, &tx), 0);
    provider = fix_insert(&f, tx, KIND_IDENTITY_PROVIDER, "corp", "{\"status\":\"active\"}", NULL,
                          (struct change_secret){ 0 });
    assert_int_equal(store_commit(&tx, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char doc[512];
        struct ulid credential;
        int64_t want = 0;

        check_row(rows[i].it);
        snprintf(doc, sizeof(doc), "{\"user\":\"%s\"%s%s%s}", user->text, rows[i].own_end ? ",\"expires_at\":\"" : "",
                 rows[i].own_end ? rows[i].own_end : "", rows[i].own_end ? "\"" : "");
        assert_int_equal(store_begin(f.store, STORE_WRITE, &tx), 0);
        credential = fix_insert(&f, tx, KIND_CREDENTIAL, NULL, doc, user,
                                (struct change_secret){ "credential", SPAN("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), "" });
        assert_int_equal(store_commit(&tx, NULL), 0);
        if (rows[i].is_bound)
            snprintf(doc, sizeof(doc), "{\"status\":\"active\",\"role\":\"user\",\"identity_provider\":\"%s\",\"subject\":\"s\"%s%s%s}",
                     provider.text, rows[i].last ? ",\"last_login_at\":\"" : "", rows[i].last ? rows[i].last : "",
                     rows[i].last ? "\"" : "");
        else
            snprintf(doc, sizeof(doc), "{\"status\":\"active\",\"role\":\"user\"}");
        set_user(&f, user, doc, rows[i].is_bound ? &provider : NULL);
        if (rows[i].want)
            assert_true(when_parse(span_str(rows[i].want), &want));
        want += rows[i].want && !want;          /* 0 would be: never */
        assert_int_equal(expiry_of(&f, &credential), want);
        assert_int_equal(store_begin(f.store, STORE_WRITE, &tx), 0);
        assert_int_equal(store_object_delete(tx, "proxy-credential", &credential, 0), 0);
        assert_int_equal(store_commit(&tx, NULL), 0);
    }
    fix_stop(&f);
}

/* ---- tickets ---- */
static void test_tickets(void **state)
{
    const struct kek kek = { { 1 } }, other = { { 2 } };
    AUTO(buf_deinit) struct buf ticket, got;
    size_t len;

    (void)state;
    buf_init_heap(&ticket, 256);
    buf_init_heap(&got, 256);
    assert_int_equal(ticket_write(&kek, "one", SPAN("what it says"), &ticket), 0);
    check_row("reads what it wrote");
    assert_int_equal(ticket_read(&kek, "one", buf_span(&ticket), &got), 0);
    assert_true(span_eq(buf_span(&got), SPAN("what it says")));
    check_row("refuses another purpose");
    buf_clear(&got);
    assert_int_equal(ticket_read(&kek, "two", buf_span(&ticket), &got), -EBADMSG);
    check_row("refuses another key");
    buf_clear(&got);
    assert_int_equal(ticket_read(&other, "one", buf_span(&ticket), &got), -EBADMSG);
    check_row("refuses each changed byte, and each cut");
    len = ticket.len;
    for (size_t i = 0; i < len; i++) {
        unsigned char was = ticket.data[i];

        ticket.data[i] = was == 'A' ? 'B' : 'A';
        buf_clear(&got);
        assert_int_equal(ticket_read(&kek, "one", buf_span(&ticket), &got), -EBADMSG);
        ticket.data[i] = was;
        buf_clear(&got);
        assert_int_equal(ticket_read(&kek, "one", span_first(buf_span(&ticket), i), &got), -EBADMSG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_credentials_lapse), cmocka_unit_test(test_tickets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
