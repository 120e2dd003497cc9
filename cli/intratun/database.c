#include "cli/intratun/intratun.h"
#include "lib/base/utf8.h"
#include <errno.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>

/* The columns that a plan is made of; the order of rows makes two runs the same. */
static const struct {
    const char *table, *statement;
} tables[] = {
    { "users", "SELECT id, username, password_hash, status, role FROM users ORDER BY id" },
    { "agent_groups", "SELECT id, name, slug, description, routing_mode FROM agent_groups ORDER BY id" },
    { "agent_memberships", "SELECT group_id, agent_id, priority, weight, enabled FROM agent_memberships ORDER BY group_id, agent_id" },
    { "destination_profiles", "SELECT id, name, slug, host, port, protocol_hint, default_group_id, notes FROM destination_profiles ORDER BY id" },
    { "access_grants", "SELECT id, user_id, group_id, destination_profile_id, access_mode FROM access_grants ORDER BY id" },
};

#define STEPS_MAX 20000                 /* of STEP_OPS instructions each: a minute or two */
#define STEP_OPS 100000
#define TABLES_JSON_MAX ((size_t)256 << 20)

struct reading {
    sqlite3 *db;
    const char *path;
    struct buf *reterr;
    unsigned steps;
};

static void stmt_finalizep(sqlite3_stmt **stmt)
{
    sqlite3_finalize(*stmt);
}

static void db_closep(sqlite3 **db)
{
    sqlite3_close(*db);
}

static int refuse(struct reading *r, const char *why)
{
    buf_printf(r->reterr, "%.300s: %s", r->path, why);
    return -EINVAL;
}

static int refuse_table(struct reading *r, const char *table, const char *why)
{
    buf_printf(r->reterr, "%.300s: table %s: %s", r->path, table, why);
    return -EINVAL;
}

/* A view or a virtual table could compute for ever, and call functions. */
static int check_table(struct reading *r, const char *table)
{
    AUTO(stmt_finalizep) sqlite3_stmt *stmt = NULL;
    const unsigned char *sql;

    if (sqlite3_prepare_v2(r->db, "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?", -1, &stmt, NULL) ||
        sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC))
        return refuse(r, "it is no SQLite database");
    if (sqlite3_step(stmt) != SQLITE_ROW)
        return refuse_table(r, table, "it is not there: this is no database of intratun's control plane");
    sql = sqlite3_column_text(stmt, 0);
    if (!sql || sqlite3_strnicmp((const char *)sql, "CREATE TABLE", 12) != 0)
        return refuse_table(r, table, "it is no plain table");
    return 0;
}

static int put_cell(struct reading *r, const char *table, sqlite3_stmt *stmt, int i, struct json_writer *w)
{
    struct span text;

    switch (sqlite3_column_type(stmt, i)) {
    case SQLITE_INTEGER:
        json_put_int(w, sqlite3_column_name(stmt, i), sqlite3_column_int64(stmt, i));
        return 0;
    case SQLITE_NULL:
        return 0;
    case SQLITE_TEXT:
        text = span_of(sqlite3_column_text(stmt, i), (size_t)sqlite3_column_bytes(stmt, i));
        if (!text.p || text.n > INTRATUN_TEXT_MAX || !utf8_is_valid(text) || span_find(text, 0) < text.n)
            return refuse_table(r, table, "a value is too long, or no text");
        json_put_str(w, sqlite3_column_name(stmt, i), text);
        return 0;
    default:
        return refuse_table(r, table, "a value is neither text nor a whole number");
    }
}

static int put_rows(struct reading *r, const char *table, sqlite3_stmt *stmt, struct json_writer *w)
{
    size_t rows = 0;
    int step, e = 0;

    while (!e && (step = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (++rows > INTRATUN_ROWS_MAX)
            return refuse_table(r, table, "it has too many rows");
        json_open_object(w, NULL);
        for (int i = 0; !e && i < sqlite3_column_count(stmt); i++)
            e = put_cell(r, table, stmt, i, w);
        json_close_object(w);
        e = e ? e : buf_error(w->out);
    }
    if (e)
        return e;
    if (step == SQLITE_INTERRUPT)
        return refuse_table(r, table, "reading it takes too long");
    return step == SQLITE_DONE ? 0 : refuse_table(r, table, sqlite3_errmsg(r->db));
}

static int read_table(struct reading *r, const char *table, const char *statement, struct json_writer *w)
{
    AUTO(stmt_finalizep) sqlite3_stmt *stmt = NULL;
    int e = check_table(r, table);

    if (e)
        return e;
    if (sqlite3_prepare_v2(r->db, statement, -1, &stmt, NULL))
        return refuse_table(r, table, sqlite3_errmsg(r->db));
    json_open_array(w, table);
    e = put_rows(r, table, stmt, w);
    json_close_array(w);
    return e;
}

static int64_t count_audit(struct reading *r)
{
    AUTO(stmt_finalizep) sqlite3_stmt *stmt = NULL;

    if (check_table(r, "audit_events") || sqlite3_prepare_v2(r->db, "SELECT count(*) FROM audit_events", -1, &stmt, NULL) ||
        sqlite3_step(stmt) != SQLITE_ROW) {
        buf_clear(r->reterr);
        return 0;
    }
    return sqlite3_column_int64(stmt, 0);
}

/* ---- opening ---- */
static int on_progress(void *ctx)
{
    struct reading *r = ctx;

    return ++r->steps > STEPS_MAX;
}

static int check_file(struct reading *r)
{
    struct stat st;

    if (lstat(r->path, &st))
        return refuse(r, strerrordesc_np(errno));
    if (S_ISLNK(st.st_mode))
        return refuse(r, "is a symbolic link; name the file itself");
    if (!S_ISREG(st.st_mode))
        return refuse(r, "is no regular file");
    return st.st_size > INTRATUN_DATABASE_MAX ? refuse(r, "is too large") : 0;
}

static bool has_journal(const char *path)
{
    char name[PATH_MAX];
    struct stat st;

    return snprintf(name, sizeof(name), "%s-wal", path) < (int)sizeof(name) && lstat(name, &st) == 0 && st.st_size > 0;
}

static void put_uri(const char *path, bool is_whole, struct buf *uri)
{
    static const char hex[] = "0123456789ABCDEF";

    buf_put_str(uri, "file:");
    for (const char *p = path; *p; p++) {
        char escaped[3] = { '%', hex[(unsigned char)*p >> 4], hex[*p & 15] };

        buf_put(uri, strchr("%?#", *p) ? escaped : p, strchr("%?#", *p) ? 3 : 1);
    }
    buf_put_str(uri, is_whole ? "?mode=ro&immutable=1" : "?mode=ro");
}

static int open_database(struct reading *r)
{
    char mem[PATH_MAX * 3 + 64];
    struct buf uri;
    int e = check_file(r);

    if (e)
        return e;
    buf_init_fixed(&uri, mem, sizeof(mem) - 1);
    put_uri(r->path, !has_journal(r->path), &uri);
    if (buf_error(&uri))
        return refuse(r, "its path is too long");
    if (sqlite3_open_v2(buf_text(&uri), &r->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOFOLLOW, NULL))
        return refuse(r, r->db ? sqlite3_errmsg(r->db) : "out of memory");
    sqlite3_db_config(r->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(r->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(r->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(r->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    sqlite3_limit(r->db, SQLITE_LIMIT_LENGTH, 4 << 20);
    sqlite3_busy_timeout(r->db, 5000);
    sqlite3_progress_handler(r->db, STEP_OPS, on_progress, r);
    return 0;
}

static int read_all(struct reading *r, struct intratun_source *s)
{
    AUTO(buf_deinit) struct buf text;
    struct json_error error = { 0 };
    struct json_writer w;
    int e = 0;

    buf_init_heap(&text, TABLES_JSON_MAX);
    json_begin(&w, &text);
    json_open_object(&w, NULL);
    for (size_t i = 0; !e && i < ARRAY_LEN(tables); i++)
        e = read_table(r, tables[i].table, tables[i].statement, &w);
    json_close_object(&w);
    if (!e)
        e = buf_error(&text);
    if (e == -ENOBUFS)
        return refuse(r, "is too large");
    if (!e)
        e = json_parse(buf_span(&text), &s->tables, &error);
    if (text.data)
        explicit_bzero(text.data, text.len);
    s->audit_events = e ? 0 : count_audit(r);
    return e == -EINVAL && error.message[0] ? refuse(r, error.message) : e;
}

int intratun_read_database(const char *path, struct intratun_source *s, struct buf *reterr)
{
    AUTO(db_closep) sqlite3 *db = NULL;
    struct reading r = { .path = path, .reterr = reterr };
    int e = open_database(&r);

    db = r.db;
    return e ? e : read_all(&r, s);
}
