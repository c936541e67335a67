// Macros of Xlib (X.h, Xlib.h) whose names other headers might use, too.
#pragma once

#define Status int
#define Bool int
#define True 1
#define False 0
#define None 0L
#define Success 0
#define Always 2
#define Above 0
#define Below 1
#define Opposite 4
#define Complex 0
#define Convex 2
#define Unsorted 0
#define Expose 12
#define KeyPress 2
#define KeyRelease 3
#define FocusIn 9
#define FocusOut 10
#define ClientMessage 33
#define GenericEvent 35
#define ControlMask (1L << 2)
#define InputOnly 2
#define InputOutput 1
#define IsViewable 2
#define GrayScale 1
#define StaticColor 2
#define DirectColor 5
#define CurrentTime 0L
#define NoSymbol 0L
#define AnyKey 0L
#define AllocNone 0
#define QueuedAlready 0
#define QueuedAfterReading 1
#define BadAccess 10
#define BadAlloc 11
#define BadLength 16
#define BadName 15
#define BadRequest 1
#define BadValue 2
