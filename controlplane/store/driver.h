#pragma once
#include "controlplane/store/store.h"
#include <errno.h>
/*
 * driver.h - what the store asks of a database: connections, statements, transactions.
 *
 * Two drivers: driver_sqlite.c and driver_postgres.c.  Each keeps its library's types to
 * itself.  Statements are the same for both wherever SQL is; statements.sql writes ?1, ?2 …
 * for what is bound.
 *
 * Ownership  values bound live until the step that follows; values of a column until the
 *            statement's next step, bind or reset.
 * Errors     0; -errno, logged (the transaction is lost; DB_AWAY: the connection too);
 *            STORE_E_EXISTS and STORE_E_NO_REF, after which the transaction goes on if the
 *            statement is guarded.
 * Threads    one at a time for a connection and its statements.
 */
#define DB_ROW 1                /* a step's answer, among STORE_E_…: a row is there */
#define DB_AWAY (-ENOTCONN)     /* the server cannot be reached, or the connection was lost */
#define DB_VALUES_MAX 64        /* values of one statement */

enum value_type {
    VALUE_NULL,
    VALUE_TEXT,
    VALUE_BLOB,
    VALUE_INT,
    VALUE_REAL,
    VALUE_BOOL,                 /* bound as the number 0 or 1 */
    VALUE_JSON,                 /* a document's field as text, in the order of JSON values */
    VALUE_PATH,                 /* to a document's field, as struct dialect writes it */
    VALUE_TYPES
};

struct value {
    enum value_type type;
    struct span text;           /* all but numbers */
    int64_t number;
    double real;
};

struct around {                 /* what stands before and behind, in SQL */
    const char *before, *behind;
};

/* How a document's field is looked at. */
enum field_use { FIELD_TEXT, FIELD_INT, FIELD_BOOL, FIELD_PLAIN, FIELD_SORT, FIELD_FACET, FIELD_USES };

/* Where lists differ between databases. */
struct dialect {
    struct around values[VALUE_TYPES];  /* around the number of a bound value */
    struct around fields[FIELD_USES];   /* around a path */
    struct around has[2];               /* around a path, then around the value: is it in the array */
    struct around path;                 /* a path's text, whose steps are quoted … */
    const char *path_step;              /* … and divided by this */
    const char *is_not, *like, *doc_like;
};

struct db {                     /* one connection; drivers have more behind it */
    const struct driver *driver;
};

struct stmt {
    struct db *db;
};

struct driver {
    const char *name;           /* of what is its own in statements.sql */
    const struct dialect *dialect;
    const struct migration *migrations;
    size_t migration_count;
    const char *begin[2];       /* by enum store_mode */
    const char *begin_migration;        /* waits for others that migrate */
    const char *has_migrations; /* a row when schema_migrations is there */
    const char *lead;           /* NULL: nobody else writes here.  1 when this session leads now */
    const char *depose;         /* ends the session that leads */
    const char *check;          /* findings, one a row; "ok" is none */

    int (*open)(const struct store_options *options, enum store_mode mode, struct db **ret_db,
                struct buf *reterr);
    void (*close)(struct db *db);
    bool (*is_lost)(const struct db *db);
    /* Several statements, without values. */
    int (*exec)(struct db *db, const char *sql);
    int (*commit)(struct db *db);
    void (*rollback)(struct db *db);    /* nothing when no transaction is open */
    /* `name` NULL: used once.  `is_guarded`: a refusal leaves the transaction usable. */
    int (*prepare)(struct db *db, const char *name, struct span sql, bool is_guarded,
                   struct stmt **ret_stmt);
    void (*finalize)(struct stmt *stmt);
    void (*bind)(struct stmt *stmt, int i, const struct value *value);          /* i: 1… */
    int (*step)(struct stmt *stmt);     /* DB_ROW, 0 at the end, an error */
    void (*reset)(struct stmt *stmt);
    int64_t (*changed)(struct stmt *stmt);      /* rows, by the step before */
    struct value (*column)(struct stmt *stmt, int column);      /* 0… */
};

extern const struct driver sqlite_driver, postgres_driver;
extern const struct dialect sqlite_dialect, postgres_dialect;

/* `options->url` empty: SQLite. */
const struct driver *driver_of(const struct store_options *options);

struct migration {
    int64_t number;
    const char *name, *sql;
    const char *contracts;      /* what is left for --finalize; NULL: nothing */
};

static inline int db_exec(struct db *db, const char *sql)
{
    return db->driver->exec(db, sql);
}

void stmt_free(struct stmt *stmt);
DEFINE_FREEP(stmt, stmt_free)
void stmt_resetp(struct stmt **stmt);

/* For text of one time: the first column of each row, a line each. */
MUST_CHECK int db_ask(struct db *db, const char *sql, struct buf *ret_lines);
void value_print(const struct value *value, struct buf *out);

struct span column_span(struct stmt *row, int column);          /* "" for NULL and numbers */
int64_t column_int(struct stmt *row, int column);
struct ulid column_ulid(struct stmt *row, int column);
void column_copy(struct stmt *row, int column, char *dst, size_t dst_size);
bool column_is_null(struct stmt *row, int column);
