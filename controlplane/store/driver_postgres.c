#include "controlplane/store/driver.h"
#include "lib/base/utf8.h"
#include "lib/log/log.h"
#include "migrations/postgres/0001_initial.sql.h"
#include "migrations/postgres/0002_events.sql.h"
#include "migrations/postgres/0003_audit_checkpoints.sql.h"
#include "migrations/postgres/0004_statistics.sql.h"
#include "migrations/postgres/0005_join_uses_index.sql.h"

#include <poll.h>
#include <postgresql/libpq-fe.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define CONNECT_S "5"           /* for each address */
#define SLACK_MS 2000           /* beyond what the server allows itself, until it counts as lost */
#define IDLE_IN_TRANSACTION_MS 60000    /* then the server frees what a stopped process holds */

struct postgres_db {
    struct db base;
    PGconn *conn;
    unsigned answer_ms;         /* the server cancels sooner */
    bool is_lost;
};

struct param {
    const char *text;
    int len, is_binary;
    char number[32];
};

struct postgres_stmt {
    struct stmt base;
    char *name, *sql;           /* prepared under a name, or text of one time */
    bool is_guarded;
    PGresult *result;           /* NULL: not run yet */
    int row, param_count;
    struct param params[];
};

static struct postgres_db *of_db(struct db *db)
{
    return container_of(db, struct postgres_db, base);
}

static struct postgres_stmt *of_stmt(struct stmt *stmt)
{
    return container_of(stmt, struct postgres_stmt, base);
}

/* ---- answers, and what they mean ---- */

/* By SQLSTATE or its class; conditions first (PostgreSQL's Appendix A). */
static const struct {
    const char *state;
    int answer;
} error_rows[] = {
    { "23505", STORE_E_EXISTS },
    { "23503", STORE_E_NO_REF },
    { "23001", STORE_E_NO_REF },        /* ON DELETE RESTRICT, from version 18 on */
    { "23", -EINVAL },
    { "22", -EINVAL },
    { "55P03", -EBUSY },                /* lock_timeout */
    { "57014", -ETIMEDOUT },            /* statement_timeout */
    { "42", -EINVAL },                  /* text that makes no sense */
    { "40", -EAGAIN },                  /* serialisation failure, deadlock */
    { "25006", DB_AWAY },               /* read-only: another server is the primary now */
    { "25P03", DB_AWAY },               /* idle in transaction for too long */
    { "53100", -ENOSPC },
    { "53200", -ENOMEM },
    { "53300", DB_AWAY },               /* too many connections */
    { "57P", DB_AWAY },                 /* going down, starting */
    { "08", DB_AWAY },
    { "XX001", -EUCLEAN },
    { "XX002", -EUCLEAN },
};

static int answer_of(const char *state)
{
    for (size_t i = 0; i < ARRAY_LEN(error_rows); i++)
        if (strncmp(state, error_rows[i].state, strlen(error_rows[i].state)) == 0)
            return error_rows[i].answer;
    return -EIO;
}

static int lost(struct postgres_db *db, const char *what, const char *text)
{
    if (!db->is_lost)
        LOG(ERROR, "store.away", SP("statement", span_first(span_str(what), 80)),
            SP("text", span_first(span_str(text), span_find(span_str(text), '\n'))));
    db->is_lost = true;
    return DB_AWAY;
}

/* Only the primary message is told: details quote values. */
static int failed(struct postgres_db *db, const PGresult *result, const char *what)
{
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *text = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    int answer;

    if (!state || PQstatus(db->conn) == CONNECTION_BAD)
        return lost(db, what, text ? text : PQerrorMessage(db->conn));
    answer = answer_of(state);
    if (answer == DB_AWAY)
        return lost(db, what, text);
    if (answer < 0)
        LOG(ERROR, "store.failed", S("state", state), S("text", text ? text : ""),
            SP("statement", span_first(span_str(what), 80)));
    return answer;
}

static bool is_good(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);

    return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY;
}

static int64_t monotonic_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Moves bytes until PQgetResult() would not block.  False: the connection is of no use. */
static bool pump(struct postgres_db *db, int64_t until_ms)
{
    for (;;) {
        int unsent = PQflush(db->conn);
        struct pollfd fd = { .fd = PQsocket(db->conn), .events = POLLIN };
        int64_t left_ms = until_ms - monotonic_ms();

        if (unsent < 0 || fd.fd < 0)
            return false;
        if (!unsent && !PQisBusy(db->conn))
            return true;
        if (unsent)
            fd.events |= POLLOUT;
        if (left_ms <= 0 || (poll(&fd, 1, (int)left_ms) < 0 && errno != EINTR))
            return false;
        if ((fd.revents & ~POLLOUT) && !PQconsumeInput(db->conn))
            return false;
    }
}

/* All answers to what was sent: the first bad one, otherwise the last. */
static int take_answer(struct postgres_db *db, bool was_sent, const char *what, PGresult **ret_result)
{
    int64_t until_ms = monotonic_ms() + db->answer_ms;
    PGresult *kept = NULL, *next;
    bool is_whole = was_sent;
    int r;

    while (is_whole && (is_whole = pump(db, until_ms)) && (next = PQgetResult(db->conn))) {
        if (kept && !is_good(kept)) {
            PQclear(next);
            continue;
        }
        PQclear(kept);
        kept = next;
    }
    if (is_whole && kept && is_good(kept)) {
        *ret_result = kept;
        return 0;
    }
    r = is_whole ? failed(db, kept, what)
                 : lost(db, what, PQerrorMessage(db->conn)[0] ? PQerrorMessage(db->conn) : "no answer in time");
    PQclear(kept);
    return r;
}

static int run_text(struct postgres_db *db, const char *sql, PGresult **ret_result)
{
    bool was_sent = !db->is_lost && PQsendQuery(db->conn, sql);

    return take_answer(db, was_sent, sql, ret_result);
}

static int postgres_exec(struct db *db, const char *sql)
{
    PGresult *result = NULL;
    int r = run_text(of_db(db), sql, &result);

    PQclear(result);
    return r;
}

/* COMMIT of a transaction that failed is answered too, with another word. */
static int postgres_commit(struct db *db)
{
    PGresult *result = NULL;
    int r = run_text(of_db(db), "COMMIT", &result);

    if (!r && strcmp(PQcmdStatus(result), "COMMIT") != 0)
        r = -EIO;
    PQclear(result);
    return r;
}

static bool postgres_is_lost(const struct db *db)
{
    const struct postgres_db *p = container_of(db, struct postgres_db, base);

    return p->is_lost || PQstatus(p->conn) == CONNECTION_BAD;
}

static void postgres_rollback(struct db *db)
{
    struct postgres_db *p = of_db(db);

    if (!postgres_is_lost(db) && PQtransactionStatus(p->conn) != PQTRANS_IDLE && postgres_exec(db, "ROLLBACK"))
        p->is_lost = true;
}

/* ---- statements ---- */

/* "?1" becomes "$1"; the highest number comes back. */
static char *translated(struct span sql, int *ret_params)
{
    char *text = span_dup(sql);
    uint64_t n;

    *ret_params = 0;
    for (char *at = text; at && *at; at++) {
        struct span digits = span_of(at + 1, strspn(at + 1, "0123456789"));

        if ((*at != '?' && *at != '$') || !span_to_u64(digits, DB_VALUES_MAX, &n))
            continue;
        *at = '$';
        if ((int)n > *ret_params)
            *ret_params = (int)n;
    }
    return text;
}

static void postgres_finalize(struct stmt *stmt)
{
    struct postgres_stmt *s = of_stmt(stmt);

    PQclear(s->result);
    free(s->name);
    free(s->sql);
    free(s);
}

static int prepare_named(struct postgres_db *db, const struct postgres_stmt *s)
{
    PGresult *result = NULL;
    int r;

    r = take_answer(db, PQsendPrepare(db->conn, s->name, s->sql, 0, NULL), s->name, &result);
    PQclear(result);
    return r > 0 ? -EINVAL : r;
}

static int postgres_prepare(struct db *db, const char *name, struct span sql, bool is_guarded,
                            struct stmt **ret_stmt)
{
    AUTO(stmt_freep) struct stmt *made = NULL;
    AUTO(freep) char *text = NULL;
    struct postgres_stmt *s;
    int params, r = 0;

    text = translated(sql, &params);
    s = text ? calloc(1, sizeof(*s) + (size_t)params * sizeof(s->params[0])) : NULL;
    if (!s)
        return -ENOMEM;
    made = &s->base;
    s->base.db = db;
    s->sql = TAKE(text);
    s->param_count = params;
    s->is_guarded = is_guarded;
    if (name) {
        s->name = span_dup(span_str(name));
        r = s->name ? prepare_named(of_db(db), s) : -ENOMEM;
    }
    if (!r)
        *ret_stmt = TAKE(made);
    return r;
}

/* Text that PostgreSQL would refuse is NULL: it equals nothing, and NOT NULL columns refuse it. */
static void bind_text(struct param *p, struct span text)
{
    if (memchr(text.n ? text.p : "", 0, text.n) || !utf8_is_valid(text))
        return;
    p->text = text.n ? text.p : "";
    p->len = (int)text.n;
    p->is_binary = 1;
}

/* Numbers go as text, so that the server may take them for what it needs. */
static void postgres_bind(struct stmt *stmt, int i, const struct value *value)
{
    struct postgres_stmt *s = of_stmt(stmt);
    struct param *p;

    if (i > s->param_count)
        return;
    p = &s->params[i - 1];
    *p = (struct param){ .text = NULL };
    switch (value->type) {
    case VALUE_INT:
    case VALUE_BOOL:
        snprintf(p->number, sizeof(p->number), "%lld", (long long)value->number);
        p->text = p->number;
        break;
    case VALUE_REAL:
        snprintf(p->number, sizeof(p->number), "%.17g", value->real);
        p->text = p->number;
        break;
    case VALUE_BLOB:
        p->text = value->text.n ? value->text.p : "";
        p->len = (int)value->text.n;
        p->is_binary = 1;
        break;
    case VALUE_TEXT:
    case VALUE_JSON:
    case VALUE_PATH:
        bind_text(p, value->text);
        break;
    case VALUE_NULL:
    case VALUE_TYPES:
        break;
    }
}

static int run(struct postgres_stmt *s)
{
    struct postgres_db *db = of_db(s->base.db);
    const char *values[DB_VALUES_MAX];
    int lens[DB_VALUES_MAX], formats[DB_VALUES_MAX], was_sent = 0;

    for (int i = 0; i < s->param_count; i++) {
        values[i] = s->params[i].text;
        lens[i] = s->params[i].len;
        formats[i] = s->params[i].is_binary;
    }
    if (!db->is_lost && s->name)
        was_sent = PQsendQueryPrepared(db->conn, s->name, s->param_count, values, lens, formats, 1);
    else if (!db->is_lost)
        was_sent = PQsendQueryParams(db->conn, s->sql, s->param_count, NULL, values, lens, formats, 1);
    return take_answer(db, was_sent, s->name ? s->name : "list", &s->result);
}

/* A statement that is refused spoils the transaction; what may be refused has a mark before it. */
static int run_guarded(struct postgres_stmt *s)
{
    int r, back;

    r = postgres_exec(s->base.db, "SAVEPOINT guard");
    if (r)
        return r;
    r = run(s);
    if (r == DB_AWAY)
        return r;
    back = postgres_exec(s->base.db, r ? "ROLLBACK TO guard; RELEASE guard" : "RELEASE guard");
    return back ? back : r;
}

static int postgres_step(struct stmt *stmt)
{
    struct postgres_stmt *s = of_stmt(stmt);
    int r;

    if (!s->result) {
        r = s->is_guarded ? run_guarded(s) : run(s);
        if (r)
            return r;
        s->row = -1;
    }
    return ++s->row < PQntuples(s->result) ? DB_ROW : 0;
}

static void postgres_reset(struct stmt *stmt)
{
    struct postgres_stmt *s = of_stmt(stmt);

    PQclear(TAKE(s->result));
    for (int i = 0; i < s->param_count; i++)
        s->params[i].text = NULL;
}

static int64_t postgres_changed(struct stmt *stmt)
{
    uint64_t n = 0;

    (void)span_to_u64(span_str(PQcmdTuples(of_stmt(stmt)->result)), INT64_MAX, &n);
    return (int64_t)n;
}

/* Of the types that our statements answer with (pg_type.dat); everything else is text. */
enum { OID_BOOL = 16, OID_BYTEA = 17, OID_INT8 = 20, OID_INT4 = 23, OID_JSONB = 3802 };

static struct value postgres_column(struct stmt *stmt, int column)
{
    const struct postgres_stmt *s = of_stmt(stmt);
    struct span bytes = span_of(PQgetvalue(s->result, s->row, column),
                                (size_t)PQgetlength(s->result, s->row, column));
    struct value v = { .type = VALUE_TEXT, .text = bytes };
    struct reader in;

    reader_init(&in, bytes);
    if (PQgetisnull(s->result, s->row, column))
        return (struct value){ .type = VALUE_NULL };
    switch (PQftype(s->result, column)) {
    case OID_BOOL:
        return (struct value){ .type = VALUE_INT, .number = read_u8(&in) };
    case OID_INT4:
        return (struct value){ .type = VALUE_INT, .number = (int32_t)read_u32(&in) };
    case OID_INT8:
        return (struct value){ .type = VALUE_INT, .number = (int64_t)read_u64(&in) };
    case OID_BYTEA:
        v.type = VALUE_BLOB;
        break;
    case OID_JSONB:                     /* a version byte comes first */
        v.type = VALUE_JSON;
        v.text = span_skip(bytes, 1);
        break;
    default:
        break;
    }
    return v;
}

/* ---- connections ---- */

bool store_is_url(const char *text)
{
    PQconninfoOption *parsed = PQconninfoParse(text, NULL);
    bool is_parsed = parsed != NULL;
    struct span url = span_str(text);

    PQconninfoFree(parsed);
    return is_parsed && (span_starts(url, SPAN("postgresql://")) || span_starts(url, SPAN("postgres://")));
}

static void postgres_close(struct db *db)
{
    struct postgres_db *p = of_db(db);

    PQfinish(p->conn);
    free(p);
}

static void postgres_closep(struct postgres_db **p)
{
    if (*p)
        postgres_close(&(*p)->base);
}

static void on_notice(void *arg, const PGresult *result)
{
    (void)arg;
    LOG(DEBUG, "store.notice", S("text", PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)));
}

/* What stands before the URL may be overruled by it, what stands behind may not. */
static int connect_to(const struct store_options *options, struct postgres_db *db, struct buf *reterr)
{
    const char *keys[] = { "connect_timeout", "target_session_attrs", "tcp_user_timeout", "keepalives_idle",
                           "application_name", "dbname", "client_encoding", "password", NULL };
    const char *values[] = { CONNECT_S, "read-write", "10000", "10", "adit-controlplane", options->url,
                             "UTF8", options->password, NULL };

    if (!options->password || !options->password[0])
        keys[7] = NULL;
    db->conn = PQconnectdbParams(keys, values, 1);
    if (!db->conn)
        return -ENOMEM;
    if (PQstatus(db->conn) != CONNECTION_OK) {
        struct span text = span_str(PQerrorMessage(db->conn));

        buf_printf(reterr, "PostgreSQL: " SPAN_FMT, SPAN_ARG(span_first(text, span_find(text, '\n'))));
        return DB_AWAY;
    }
    PQsetNoticeReceiver(db->conn, on_notice, NULL);
    return PQsetnonblocking(db->conn, 1) ? DB_AWAY : 0;
}

static int set_up(const struct store_options *options, struct db *db)
{
    char sql[512];

    snprintf(sql, sizeof(sql),
             "SET statement_timeout = %u; SET lock_timeout = %u;"
             "SET idle_in_transaction_session_timeout = %u; SET client_min_messages = warning;"
             "SET standard_conforming_strings = on;"
             "SELECT set_config('synchronous_commit', 'on', false)"
             " WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')",
             options->statement_ms, options->wait_ms, IDLE_IN_TRANSACTION_MS);
    return postgres_exec(db, sql);
}

/* A row for each thing that this server is not good enough in. */
static const char requirements[] =
    "SELECT 'PostgreSQL ' || current_setting('server_version') || ' is too old: 13 is needed'"
    " WHERE current_setting('server_version_num')::int < 130000 "
    "UNION ALL SELECT 'the database''s encoding must be UTF8, not ' || current_setting('server_encoding')"
    " WHERE current_setting('server_encoding') <> 'UTF8' "
    "UNION ALL SELECT 'synchronous_commit cannot be turned on'"
    " WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')";

static int check_server(struct db *db, struct buf *reterr)
{
    AUTO(buf_deinit) struct buf findings, fsync;
    int r;

    buf_init_heap(&findings, 4096);
    buf_init_heap(&fsync, 64);
    r = db_ask(db, requirements, &findings);
    if (!r)
        r = db_ask(db, "SELECT current_setting('fsync')", &fsync);
    if (r)
        return r;
    if (findings.len) {
        buf_printf(reterr, SPAN_FMT, SPAN_ARG(span_first(buf_span(&findings), findings.len - 1)));
        return -EINVAL;
    }
    if (!span_starts(buf_span(&fsync), SPAN("on")))
        LOG(WARNING, "store.not-durable", S("detail", "the server's fsync is off: a power cut loses what was answered"));
    return 0;
}

static int postgres_open(const struct store_options *options, enum store_mode mode, struct db **ret_db,
                         struct buf *reterr)
{
    AUTO(postgres_closep) struct postgres_db *db = calloc(1, sizeof(*db));
    int r;

    if (!db)
        return -ENOMEM;
    db->base.driver = &postgres_driver;
    db->answer_ms = options->statement_ms + options->wait_ms + SLACK_MS;
    r = connect_to(options, db, reterr);
    if (!r)
        r = set_up(options, &db->base);
    if (!r && mode == STORE_WRITE)
        r = check_server(&db->base, reterr);
    if (!r)
        *ret_db = &TAKE(db)->base;
    return r;
}

/* ---- */

static const struct migration migrations[] = {
    { 1, "initial", embed_migrations_postgres_0001_initial_sql },
    { 2, "events", embed_migrations_postgres_0002_events_sql },
    { 3, "audit_checkpoints", embed_migrations_postgres_0003_audit_checkpoints_sql },
    { 4, "statistics", embed_migrations_postgres_0004_statistics_sql },
    { 5, "join_uses_index", embed_migrations_postgres_0005_join_uses_index_sql },
};

#define LEADER "hashtextextended('adit leader ' || current_setting('search_path'), 0)"

/*
 * Writers wait for each other at the row that counts revisions, so that at READ COMMITTED each
 * statement of the one whose turn it is sees all that was committed: nothing can fail for want
 * of serialisation, and what a caller's code saw holds until it commits.
 */
const struct driver postgres_driver = {
    .name = "postgres",
    .dialect = &postgres_dialect,
    .migrations = migrations,
    .migration_count = ARRAY_LEN(migrations),
    .begin = { [STORE_READ] = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
               [STORE_WRITE] = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"
                               "SELECT 1 FROM position FOR UPDATE" },
    .begin_migration =
        "BEGIN; SET LOCAL lock_timeout = 30000; SELECT pg_advisory_xact_lock("
        "hashtextextended('adit migrate ' || current_setting('search_path'), 0));"
        "DO $$ DECLARE first text := split_part(current_setting('search_path'), ',', 1); BEGIN"
        " IF current_schema() IS NULL AND first ~ '^[a-z_][a-z0-9_]*$' THEN"
        " EXECUTE format('CREATE SCHEMA %I', first); END IF; END $$",
    .lead = "SELECT pg_try_advisory_lock(" LEADER ")",
    .depose = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
              " AND objsubid = 1 AND ((classid::bigint << 32) | objid::bigint) = " LEADER
              " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    .has_migrations = "SELECT 1 WHERE to_regclass('schema_migrations') IS NOT NULL",
    .check = "SELECT 'position has ' || count(*) || ' rows' FROM position HAVING count(*) <> 1",
    .open = postgres_open,
    .close = postgres_close,
    .is_lost = postgres_is_lost,
    .exec = postgres_exec,
    .commit = postgres_commit,
    .rollback = postgres_rollback,
    .prepare = postgres_prepare,
    .finalize = postgres_finalize,
    .bind = postgres_bind,
    .step = postgres_step,
    .reset = postgres_reset,
    .changed = postgres_changed,
    .column = postgres_column,
};
