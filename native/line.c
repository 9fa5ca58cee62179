/* The parts of a line, put together. */
#include "lane.h"

#include <string.h>

static const double FLOAT_MOST = 3.4028234663852886e38; /* an index maps a decimal to 32 bits */

/* -- the parts of a line ---------------------------------------------------------------------- */

/* All of these return 0, or -1 with or without an exception: the event goes step by step then. */

void
replace(PyObject **where, PyObject *value)
{
    PyObject *before = *where;
    Py_INCREF(value);
    *where = value;
    Py_XDECREF(before);
}

int
read_clock(Lane *lane, PyObject **moment, long long *nanoseconds)
{
    PyObject *now = PyObject_CallFunctionObjArgs(OF(lane, read), NULL);
    if (now == NULL) {
        return -1;
    }
    *nanoseconds = PyLong_AsLongLong(now);
    PyObject *latest = PyList_GetItem(OF(lane, last), 0);
    long long before = latest == NULL ? -1 : PyLong_AsLongLong(latest);
    if (PyErr_Occurred()) {
        Py_DECREF(now);
        return -1;
    }
    if (*nanoseconds < before) {
        PyObject *held = PyObject_CallFunctionObjArgs(OF(lane, steady), now, NULL);
        Py_DECREF(now);
        if (held == NULL) {
            return -1;
        }
        *nanoseconds = PyLong_AsLongLong(held);
        *moment = held;
        return *nanoseconds == -1 && PyErr_Occurred() ? -1 : 0;
    }
    Py_INCREF(now);
    *moment = now;
    return PyList_SetItem(OF(lane, last), 0, now);
}

static int
add_head(Lane *lane, Text *text, long long moment)
{
    if (moment < 0) {
        return -1;
    }
    long long rest = moment - lane->second;
    if (lane->second < 0 || rest < 0 || rest >= 1000000000) {
        char *data;
        Py_ssize_t length;
        long long second = moment - moment % 1000000000;
        PyObject *number = PyLong_FromLongLong(second);
        PyObject *head =
            number == NULL ? NULL : PyObject_CallFunctionObjArgs(OF(lane, head_of), number, NULL);
        Py_XDECREF(number);
        if (head == NULL) {
            return -1;
        }
        if (PyBytes_AsStringAndSize(head, &data, &length) < 0 || length > (Py_ssize_t)sizeof(lane->head)) {
            Py_DECREF(head);
            return -1;
        }
        /* Another thread may have been here during the call: both wrote what is true for them. */
        memcpy(lane->head, data, (size_t)length);
        lane->head_length = (size_t)length;
        lane->second = second;
        rest = moment - second;
        Py_DECREF(head);
    }
    if (text_add(text, lane->head, lane->head_length) < 0) {
        return -1;
    }
    char digits[6];
    unsigned int micros = (unsigned int)(rest / 1000);
    for (int index = 5; index >= 0; index--) {
        digits[index] = (char)('0' + micros % 10);
        micros /= 10;
    }
    return text_add(text, digits, 6);
}

/* From the fraction of the second to the end of the event's text. */
static int
add_start(Lane *lane, Text *text, PyObject *starts, int index, PyObject *event)
{
    PyObject *known = PyTuple_GetItem(starts, index);
    if (known == NULL) {
        return -1;
    }
    PyObject *start = PyDict_GetItemWithError(known, event);
    if (start != NULL) {
        return text_add_bytes(text, start);
    }
    if (PyErr_Occurred()) {
        return -1;
    }
    start = PyObject_CallFunctionObjArgs(OF(lane, start_of), known, event, NULL);
    if (start == NULL) {
        return -1;
    }
    int result = text_add_bytes(text, start);
    Py_DECREF(start);
    return result;
}

/* The keys of a call site as they stand in a line, and the kinds of values that may (or None for all):
 * new references.  0, or -1. */
static int
keys_of(Lane *lane, PyObject *names, Call **found, PyObject **keys, PyObject **kinds)
{
    Call *call = &lane->calls[((size_t)names >> 4) % CALLS];
    *found = call;
    if (call->names != names) {
        PyObject *pair = PyObject_CallFunctionObjArgs(OF(lane, names_of), names, NULL);
        if (pair == NULL) {
            return -1;
        }
        if (!PyTuple_Check(pair) || PyTuple_Size(pair) != 2) { /* these keys never are plain */
            Py_DECREF(pair);
            return -1;
        }
        replace(&call->names, names);
        replace(&call->keys, PyTuple_GetItem(pair, 0));
        replace(&call->kinds, PyTuple_GetItem(pair, 1));
        Py_CLEAR(call->taken);
        Py_CLEAR(call->outer);
        Py_DECREF(pair);
    }
    Py_INCREF(call->keys);
    Py_INCREF(call->kinds);
    *keys = call->keys;
    *kinds = call->kinds;
    return 0;
}

static int is_even(PyObject *array, char kinds);

/* Whether a value is of one of the kinds, and a number that an index can hold. */
static int
is_of(PyObject *value, char kinds)
{
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyUnicode_Type) {
        return kinds & KIND_STR;
    }
    if (type == &PyLong_Type) {
        return kinds & KIND_INT;
    }
    if (type == &PyFloat_Type) {
        double number = PyFloat_AsDouble(value);
        return (kinds & KIND_FLOAT) && number >= -FLOAT_MOST && number <= FLOAT_MOST;
    }
    if (type == &PyBool_Type) {
        return kinds & KIND_BOOL;
    }
    if (type == &PyList_Type && (kinds & KIND_ARRAY)) {
        return is_even(value, (char)(kinds & ~(KIND_ARRAY | KIND_NONE)));
    }
    return value == Py_None && (kinds & KIND_NONE);
}

/* Whether an array has members, all of the same one of the kinds. */
static int
is_even(PyObject *array, char kinds)
{
    Py_ssize_t size = PyList_Size(array);
    for (Py_ssize_t index = 0; index < size; index++) {
        PyObject *item = PyList_GetItem(array, index);
        if (Py_TYPE(item) != Py_TYPE(PyList_GetItem(array, 0)) || !is_of(item, kinds)) {
            return 0;
        }
    }
    return size > 0 && size <= ARRAY_MAX;
}

static int
has_none_of(PyObject *keys, PyObject *names)
{
    Py_ssize_t count = names == NULL ? 0 : PyTuple_Size(names);
    for (Py_ssize_t index = 0; index < count; index++) {
        if (PySet_Contains(keys, PyTuple_GetItem(names, index))) { /* or it failed */
            return 0;
        }
    }
    return 1;
}

/* Whether no key comes twice: as a keyword, a bound value (*taken*) or a context variable (*outer*). */
static int
are_apart(Call *call, PyObject *names, PyObject *taken, PyObject *outer)
{
    if (call != NULL && call->names == names && call->taken == taken && call->outer == outer) {
        return 1;
    }
    if (!has_none_of(taken, names) || !has_none_of(outer, names)) {
        return 0;
    }
    if (PySet_Size(taken) > 0 && PySet_Size(outer) > 0) {
        PyObject *apart = PyObject_CallMethodObjArgs(outer, str_isdisjoint, taken, NULL);
        Py_XDECREF(apart);
        if (apart != Py_True) {
            return 0;
        }
    }
    if (call != NULL && call->names == names) {
        replace(&call->taken, taken);
        replace(&call->outer, outer);
    }
    return 1;
}

static void
release(PyObject *const *values, Py_ssize_t count)
{
    for (Py_ssize_t index = 0; index < count; index++) {
        Py_DECREF(values[index]);
    }
}

static int
keeps_its_text(PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    return type == &PyUnicode_Type || type == &PyLong_Type || type == &PyFloat_Type ||
           type == &PyBool_Type || value == Py_None || value == Py_Ellipsis;
}

/* What each of the context variables has here, new references, and their number; -1 if their text cannot
 * be told from that. */
static Py_ssize_t
look_around(Lane *lane, PyObject **values)
{
    PyObject *name, *variable;
    Py_ssize_t position = 0, count = 0;
    int simple = PyDict_Size(OF(lane, variables)) <= AROUND_MAX;
    /* ContextVar.get runs no Python code.  But its method is an object that has to be made once: that may
     * start a garbage collection, and what this runs may bind new names, more than there is room for. */
    while (simple && PyDict_Next(OF(lane, variables), &position, &name, &variable)) {
        if (count == AROUND_MAX) {
            simple = 0;
            break;
        }
        Getter *getter = &lane->getters[count];
        if (getter->variable != variable) {
            PyObject *get = PyObject_GetAttr(variable, str_get);
            if (get == NULL) {
                PyErr_Clear();
                simple = 0;
                break;
            }
            replace(&getter->variable, variable);
            replace(&getter->get, get);
            Py_DECREF(get);
        }
        PyObject *value = PyObject_CallFunctionObjArgs(getter->get, Py_Ellipsis, NULL);
        if (value == NULL) {
            PyErr_Clear();
            simple = 0;
            break;
        }
        values[count++] = value;
        simple = keeps_its_text(value);
    }
    if (!simple) {
        release(values, count);
        return -1;
    }
    return count;
}

static Around *
slot_of(Lane *lane, PyObject *const *values, Py_ssize_t count)
{
    size_t hash = 0;
    for (Py_ssize_t index = 0; index < count; index++) {
        hash = hash * 31 + ((size_t)values[index] >> 4);
    }
    return &lane->arounds[hash % AROUNDS];
}

static int
are_same(PyObject *const *values, Py_ssize_t count, PyObject *const *others, Py_ssize_t other_count)
{
    return count == other_count && memcmp(values, others, (size_t)count * sizeof(PyObject *)) == 0;
}

/* What the context variables add: (bytes, keys), a new reference. */
static PyObject *
around(Lane *lane)
{
    PyObject *values[AROUND_MAX], *again[AROUND_MAX];
    Py_ssize_t count = look_around(lane, values);
    if (count < 0) {
        return PyObject_CallFunctionObjArgs(OF(lane, around_of), NULL);
    }
    Around *known = slot_of(lane, values, count);
    PyObject *shown = known->shown;
    if (shown != NULL && are_same(values, count, known->values, known->count)) {
        Py_INCREF(shown);
    }
    else if ((shown = PyObject_CallFunctionObjArgs(OF(lane, around_of), NULL)) != NULL) {
        /* A signal handler may have bound others meanwhile: the text is theirs then. */
        Py_ssize_t now = look_around(lane, again);
        if (are_same(values, count, again, now)) {
            around_forget(known);
            memcpy(known->values, values, (size_t)count * sizeof(PyObject *));
            known->count = count;
            Py_INCREF(shown);
            known->shown = shown;
            count = 0; /* they are the table's now */
        }
        release(again, now);
    }
    release(values, count);
    return shown;
}

static int
add_fields(Lane *lane, Text *text, PyObject *keys, PyObject *kinds, PyObject *const *values,
           Py_ssize_t count)
{
    const char *allowed = kinds == Py_None ? NULL : PyBytes_AsString(kinds);
    Budget budget = {lane->nodes_max - count, lane->items_max, (size_t)lane->longest, OF(lane, dumps)};
    for (Py_ssize_t index = 0; index < count; index++) {
        PyObject *key = PyTuple_GetItem(keys, index);
        if (key == NULL || text_add_bytes(text, key) < 0 ||
            (allowed != NULL && !is_of(values[index], allowed[index]))) {
            return -1;
        }
        if (is_plain(values[index])) {
            if (encode(text, values[index], lane->levels, &budget) < 0) {
                return -1;
            }
            continue;
        }
        PyObject *shown = PyObject_CallFunctionObjArgs(OF(lane, leaf), values[index], NULL);
        if (shown == NULL) {
            return -1;
        }
        int result = text_add_bytes(text, shown);
        Py_DECREF(shown);
        if (result < 0) {
            return -1;
        }
    }
    return 0;
}

/* Where the call stands: there is no frame of ours between it and here. */
static int
add_place(Lane *lane, Text *text)
{
    PyFrameObject *frame = PyEval_GetFrame();
    if (frame == NULL) {
        return -1;
    }
    PyObject *code = (PyObject *)PyFrame_GetCode(frame);
    int line = PyFrame_GetLineNumber(frame);
    Place *place = &lane->places[(((size_t)code >> 5) * 31 + (size_t)line) % PLACES];
    int result = -1;
    if (place->code == code && place->line == line) {
        result = text_add_bytes(text, place->shown);
    }
    else {
        /* (members, whether they depend on nothing but the line) */
        PyObject *found = PyObject_CallFunctionObjArgs(OF(lane, place_of), (PyObject *)frame, NULL);
        if (found != NULL) {
            PyObject *shown = PyTuple_GetItem(found, 0);
            result = text_add_bytes(text, shown);
            if (result == 0 && PyTuple_GetItem(found, 1) == Py_True) {
                /* All three before the old code goes: a weak reference to it may run Python code. */
                PyObject *old_code = place->code, *old_shown = place->shown;
                Py_INCREF(code);
                Py_INCREF(shown);
                place->code = code;
                place->shown = shown;
                place->line = line;
                Py_XDECREF(old_shown);
                Py_XDECREF(old_code);
            }
            Py_DECREF(found);
        }
    }
    Py_DECREF(code);
    return result;
}

/* What a function of Python returns. */
static int
add_made(PyObject *function, Text *text)
{
    PyObject *made = PyObject_CallFunctionObjArgs(function, NULL);
    int result = made == NULL ? -1 : text_add_bytes(text, made);
    Py_XDECREF(made);
    return result;
}

static int
add_added(Lane *lane, Text *text)
{
    if (OF(lane, place_of) != Py_None && add_place(lane, text) < 0) {
        return -1;
    }
    Py_ssize_t count = PyTuple_Size(OF(lane, adders));
    for (Py_ssize_t index = 0; index < count; index++) {
        if (add_made(PyTuple_GetItem(OF(lane, adders), index), text) < 0) {
            return -1;
        }
    }
    return 0;
}

/* The line of an event, a new reference; NULL if it has to go step by step. */
PyObject *
render(Lane *lane, PyObject *mine, int index, PyObject *event, PyObject *const *values,
       PyObject *names, long long moment)
{
    /* mine: (lane, starts by level, members of the bound values, their keys) */
    PyObject *line = NULL, *outer = NULL, *keys = NULL, *kinds = NULL;
    Py_ssize_t count = names == NULL ? 0 : PyTuple_Size(names);
    Text text;
    text_init(&text);
    if (add_head(lane, &text, moment) < 0 ||
        add_start(lane, &text, PyTuple_GetItem(mine, 1), index, event) < 0 ||
        text_add_bytes(&text, OF(lane, fixed)) < 0) {
        goto done;
    }
    Call *call = NULL;
    if (count && keys_of(lane, names, &call, &keys, &kinds) < 0) {
        goto done;
    }
    if (OF(lane, thread_of) != Py_None && add_made(OF(lane, thread_of), &text) < 0) {
        goto done;
    }
    PyObject *around_keys = OF(lane, nothing);
    if (PyDict_Size(OF(lane, variables)) > 0) {
        if ((outer = around(lane)) == NULL) {
            goto done;
        }
        around_keys = PyTuple_GetItem(outer, 1);
        if (text_add_bytes(&text, PyTuple_GetItem(outer, 0)) < 0) {
            goto done;
        }
    }
    if (!are_apart(call, names, PyTuple_GetItem(mine, 3), around_keys)) {
        goto done;
    }
    if (text_add_bytes(&text, PyTuple_GetItem(mine, 2)) < 0 ||
        (count && add_fields(lane, &text, keys, kinds, values, count) < 0) || add_added(lane, &text) < 0 ||
        text_add(&text, "}", 1) < 0) {
        goto done;
    }
    if (text.length <= (size_t)lane->longest) {
        line = PyBytes_FromStringAndSize(text.data, (Py_ssize_t)text.length);
    }
done:
    Py_XDECREF(outer);
    Py_XDECREF(keys);
    Py_XDECREF(kinds);
    text_free(&text);
    return line;
}

