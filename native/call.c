/* The methods of the bound logger, and where their lines go. */
#include "lane.h"

#define TUPLES_KEEP_HASHES 0x030E0000UL /* 3.14 */

/* -- delivery --------------------------------------------------------------------------------- */

/* For versions where a tuple keeps its hash, in a field that only its own `new` sets up. */
static PyObject *
new_record(Lane *lane, PyObject *level, PyObject *line, PyObject *created)
{
    PyObject *members = PyTuple_Pack(3, level, line, created);
    PyObject *args = members == NULL ? NULL : PyTuple_Pack(1, members);
    newfunc make = (newfunc)PyType_GetSlot(&PyTuple_Type, Py_tp_new);
    PyObject *record = args == NULL ? NULL : make((PyTypeObject *)OF(lane, record), args, NULL);
    Py_XDECREF(members);
    Py_XDECREF(args);
    return record;
}

static PyObject *
make_record(Lane *lane, int index, PyObject *line, long long moment)
{
    PyObject *created = PyFloat_FromDouble((double)moment / 1e9);
    if (created == NULL) {
        return NULL;
    }
    PyObject *record;
    if (Py_Version >= TUPLES_KEEP_HASHES) {
        record = new_record(lane, level_numbers[index], line, created);
        Py_DECREF(created);
        return record;
    }
    record = PyType_GenericAlloc((PyTypeObject *)OF(lane, record), 3);
    if (record == NULL) {
        Py_DECREF(created);
        return NULL;
    }
    Py_INCREF(level_numbers[index]);
    Py_INCREF(line);
    PyTuple_SetItem(record, 0, level_numbers[index]);
    PyTuple_SetItem(record, 1, line);
    PyTuple_SetItem(record, 2, created);
    return record;
}

/* Puts a record in the queue, or hands it to whoever puts it elsewhere; None, or NULL. */
static PyObject *
put(Lane *lane, PyObject *record, Py_ssize_t size)
{
    if (OF(lane, gate) == Py_None) {
        return PyObject_CallFunctionObjArgs(OF(lane, put), record, NULL);
    }
    /* The steps of RecordBuffer.offer; no other thread runs from here to the end of the append. */
    Gate *gate = (Gate *)OF(lane, gate);
    if (gate->size >= gate->limit || gate->bytes + size > gate->byte_limit) {
        return PyObject_CallFunctionObjArgs(OF(lane, handle), record, NULL);
    }
    gate->size++;
    gate->bytes += size;
    PyObject *done = PyObject_CallFunctionObjArgs(OF(lane, append), record, NULL);
    if (done == NULL) {
        gate->size--;
        gate->bytes -= size;
        return NULL;
    }
    if (gate->size >= gate->wake_size || gate->bytes >= gate->wake_bytes) {
        Py_DECREF(done);
        return PyObject_CallFunctionObjArgs(OF(lane, ring), NULL);
    }
    return done;
}

/* Delivers a line; 0, or -1 with an exception that is the caller's. */
static int
deliver(Lane *lane, int index, PyObject *line, PyObject *moment, long long nanoseconds)
{
    PyObject *done = NULL;
    if (OF(lane, straight) != Py_None) {
        done = PyObject_CallFunctionObjArgs(
            OF(lane, straight), level_numbers[index], line, moment, NULL);
        if (done == Py_True) {
            Py_DECREF(done);
            return 0;
        }
    }
    int failed = done == NULL && PyErr_Occurred() != NULL;
    Py_XDECREF(done);
    PyObject *type = NULL, *error = NULL, *traceback = NULL;
    if (failed) {
        PyErr_Fetch(&type, &error, &traceback);
    }
    PyObject *record = make_record(lane, index, line, nanoseconds);
    if (record == NULL) {
        Py_XDECREF(type);
        Py_XDECREF(error);
        Py_XDECREF(traceback);
        return -1;
    }
    if (!failed) {
        done = put(lane, record, PyBytes_Size(line));
        if (done != NULL) {
            Py_DECREF(done);
            Py_DECREF(record);
            return 0;
        }
        PyErr_Fetch(&type, &error, &traceback);
    }
    if (!PyErr_GivenExceptionMatches(type, PyExc_Exception)) {
        PyErr_Restore(type, error, traceback);
        Py_DECREF(record);
        return -1;
    }
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(error, traceback);
    }
    done = PyObject_CallFunctionObjArgs(OF(lane, not_delivered), record, error, NULL);
    Py_DECREF(record);
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* -- the methods of the bound logger ---------------------------------------------------------- */

static PyObject *
step_by_step(PyObject *self, int index, PyObject *const *args, Py_ssize_t count, PyObject *names,
             PyObject *moment)
{
    PyObject *result = NULL;
    PyObject *method = PyObject_GetAttr(self, str_slow);
    PyObject *rest = PyTuple_New(count > 1 ? count - 1 : 0);
    PyObject *fields = PyDict_New();
    if (method == NULL || rest == NULL || fields == NULL) {
        goto done;
    }
    for (Py_ssize_t at = 1; at < count; at++) {
        Py_INCREF(args[at]);
        PyTuple_SetItem(rest, at - 1, args[at]);
    }
    for (Py_ssize_t at = 0; names != NULL && at < PyTuple_Size(names); at++) {
        if (PyDict_SetItem(fields, PyTuple_GetItem(names, at), args[count + at]) < 0) {
            goto done;
        }
    }
    result = PyObject_CallFunctionObjArgs(
        method, level_numbers[index], level_names[index], count ? args[0] : Py_None, rest, fields,
        moment == NULL ? Py_None : moment, NULL);
done:
    Py_XDECREF(method);
    Py_XDECREF(rest);
    Py_XDECREF(fields);
    return result;
}

/* What the logger has ready for its lane: a new reference, or NULL without an exception. */
static PyObject *
ready(PyObject *self)
{
    PyObject *mine = PyObject_GetAttr(self, str_lane);
    for (int tries = 0; mine != NULL && tries < 2; tries++) {
        if (PyTuple_Check(mine) && PyTuple_Size(mine) >= 1) {
            PyObject *lane = PyTuple_GetItem(mine, 0);
            if (Py_TYPE(lane) == lane_type && ((Lane *)lane)->active) {
                if (PyTuple_Size(mine) == 4) {
                    return mine;
                }
                break; /* its events are known not to be plain */
            }
        }
        Py_DECREF(mine);
        mine = tries ? NULL : PyObject_CallMethodObjArgs(self, str_prepare, NULL);
    }
    Py_XDECREF(mine);
    return NULL;
}

static PyObject *
log_event(PyObject *self, int index, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    PyObject *named = PyObject_GetAttr(self, str_logger);
    PyObject *threshold = named == NULL ? NULL : PyObject_GetAttr(named, str_level);
    Py_XDECREF(named);
    if (threshold == NULL) {
        return NULL;
    }
    long level = PyLong_AsLong(threshold);
    Py_DECREF(threshold);
    if (LEVEL_VALUES[index] < level) {
        /* Not Py_RETURN_NONE: the headers of 3.12 and later take None for immortal there, and on 3.11,
           where this same file runs too, every filtered call would cost a reference. */
        Py_INCREF(Py_None);
        return Py_None;
    }
    if (level == -1 && PyErr_Occurred()) {
        PyErr_Clear();
    }
    PyObject *mine = ready(self);
    PyObject *moment = NULL, *line = NULL, *result = NULL;
    long long nanoseconds;
    if (mine != NULL) {
        Lane *lane = (Lane *)PyTuple_GetItem(mine, 0);
        if (read_clock(lane, &moment, &nanoseconds) == 0 && count == 1 &&
            Py_TYPE(args[0]) == &PyUnicode_Type && PyObject_Size(OF(lane, overdue)) == 0) {
            line = render(lane, mine, index, args[0], args + 1, names, nanoseconds);
        }
        if (line != NULL) {
            if (deliver(lane, index, line, moment, nanoseconds) == 0) {
                result = Py_None;
                Py_INCREF(result);
            }
            goto done;
        }
    }
    if (PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_Exception)) {
            goto done; /* KeyboardInterrupt and the like */
        }
        PyErr_Clear();
    }
    result = step_by_step(self, index, args, count, names, moment);
done:
    Py_XDECREF(mine);
    Py_XDECREF(moment);
    Py_XDECREF(line);
    return result;
}

#define METHOD(name, index) \
    static PyObject *log_##name(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) \
    { \
        return log_event(self, index, args, count, names); \
    }
METHOD(debug, 0)
METHOD(info, 1)
METHOD(warning, 2)
METHOD(error, 3)
METHOD(critical, 4)

#define ROW(name) \
    {#name, (PyCFunction)(void (*)(void))log_##name, METH_FASTCALL | METH_KEYWORDS, \
     #name "($self, event=None, /, *args, **fields)\n--\n\n" \
     "Log *event* at level " #name "; ``%`` placeholders take *args*, the rest are fields."}

PyMethodDef log_methods[] = {
    ROW(debug), ROW(info), ROW(warning), ROW(error), ROW(critical), {NULL},
};
