/**
 * Imported before everything else: tells V8 to prefer a small heap to a fast one. With 400 open streams and after 300
 * certificates the process held 111 MiB instead of 177; what it does per change is too little for the speed to matter.
 */
import { setFlagsFromString } from 'node:v8';

setFlagsFromString('--optimize-for-size');
